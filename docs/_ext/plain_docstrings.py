"""Docstrings as reStructuredText: they are plain prose in which `backticks` mark code.

Everything else that reStructuredText would read as markup is escaped, and an indented passage is
shown as it stands.
"""

import re
from collections.abc import Iterator

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

_CODE = re.compile(r"(`[^`]+`)")
_MARKUP = re.compile(r"[\\*|]|_(?=\W|$)")


def escaped(lines: list[str]) -> list[str]:
    """The docstring's lines, fit to be parsed as reStructuredText."""
    return list(_passages("\n".join(lines).strip("\n").split("\n\n")))


def _passages(passages: list[str]) -> Iterator[str]:
    verbatim = False
    for passage in passages:
        lines = passage.split("\n")
        if all(line.startswith("    ") or not line for line in lines):
            if not verbatim:
                yield from ("::", "")
            yield from lines
            verbatim = True
        else:
            yield from _escape(passage).split("\n")
            verbatim = False
        yield ""


def _escape(passage: str) -> str:
    parts = _CODE.split(passage)  # code at the odd places
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = f"`{part}`"  # two backticks: a literal, in which nothing is escaped
        else:
            parts[place] = _MARKUP.sub(r"\\\g<0>", part)
    return "".join(parts)


def _process(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    lines[:] = escaped(lines)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Every docstring that autodoc reads passes through."""
    app.connect("autodoc-process-docstring", _process)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
