"""Templates become pages: everything escaped, every script known by its hash, nothing fetched."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spectrum_ft_reports.pages.theme import DARK, LIGHT, css_variables

_TEMPLATES = "templates"


def render(
    template: str, *, scripts: tuple[str, ...] = ("table.js", "copy.js"), **page: Any
) -> str:
    """The page that `template` makes of `page`, with these of our `scripts` in it.

    A policy in the page itself forbids whatever is not in it: no request leaves it, and no script
    runs but ours, even if a stranger's text were taken for markup.
    """
    texts = [_text(name) for name in scripts]
    return (
        _environment()
        .get_template(template)
        .render(
            scripts=[Markup(text) for text in texts],
            policy=_policy(texts),
            style=Markup(_text("style.css")),
            light=Markup(css_variables(LIGHT)),
            dark=Markup(css_variables(DARK)),
            **page,
        )
    )


def _policy(scripts: list[str]) -> str:
    """The content security policy (CSP Level 3) of a page with these scripts."""
    digests = (hashlib.sha256(text.encode()).digest() for text in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("spectrum_ft_reports.pages", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def _text(name: str) -> str:
    return files("spectrum_ft_reports.pages").joinpath(_TEMPLATES, name).read_text("utf-8").strip()
