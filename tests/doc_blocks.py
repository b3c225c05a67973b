"""What README and the documentation tell a reader to run: scripts, and command lines.

A block that cannot run in a test has a comment right before it, which says why:

    <!-- not run: needs a GPU -->
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

_SHELL = {"sh", "bash", "shell", "console"}
_EXCUSE = re.compile(r"<!--\s*not run:\s*(.+?)\s*-->", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of code on a page."""

    page: str
    """The page, from the root of the repository."""
    line: int
    """Where it begins, from 1."""
    language: str
    """The first word behind its fence; `sh` for an indented block, which is for the shell here."""
    text: str
    """The code."""
    excuse: str | None
    """Why it is not run; None if it is."""

    @property
    def place(self) -> str:
        """Where it is, for a message."""
        return f"{self.page}, line {self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A line for the shell with `spectrum` in it."""

    place: str
    """Where it is, for a message."""
    pipeline: tuple[tuple[str, ...], ...]
    """The words behind `spectrum`, of each part of the pipeline."""
    output: str | None
    """The file that standard output goes to; None for the terminal."""
    folders: tuple[str, ...]
    """The folders that the block makes before it."""
    excuse: str | None
    """Why its block is not run; None if it is."""

    @property
    def text(self) -> str:
        """The line as a shell reads it, without comments."""
        return " | ".join(shlex.join(("spectrum", *words)) for words in self.pipeline)


def pages() -> list[str]:
    """README and every page that people wrote, from the root of the repository."""
    written = [
        path.relative_to(ROOT).as_posix()
        for path in sorted(DOCS.rglob("*.md"))
        if not any(part.startswith("_") for part in path.relative_to(DOCS).parts)
    ]
    return ["README.md", *written]


def blocks(page: str) -> list[Block]:
    """The blocks of code of a page, in their order."""
    found: list[Block] = []
    excuse: str | None = None
    for token in MarkdownIt().parse((ROOT / page).read_text("utf-8")):
        if token.type in ("fence", "code_block"):
            language = token.info.split()[0] if token.info.strip() else ""
            found.append(
                Block(
                    page=page,
                    line=(token.map or [0])[0] + 1,
                    language=language if token.type == "fence" else "sh",
                    text=token.content,
                    excuse=excuse,
                )
            )
        told = _EXCUSE.search(token.content) if token.type == "html_block" else None
        excuse = told[1] if told else None
    return found


def scripts(page: str) -> list[Block]:
    """The Python blocks of a page."""
    return [block for block in blocks(page) if block.language == "python"]


def command_lines(page: str) -> list[CommandLine]:
    """The command lines of a page, in their order."""
    return [line for block in blocks(page) if block.language in _SHELL for line in _lines(block)]


def inline_commands(page: str) -> list[tuple[str, ...]]:
    """The words of every `spectrum ...` in the running text, tables and headings of a page."""
    return [
        tuple(child.content.split()[1:])
        for token in MarkdownIt().enable("table").parse((ROOT / page).read_text("utf-8"))
        for child in token.children or ()
        if child.type == "code_inline" and child.content.startswith("spectrum ")
    ]


def _lines(block: Block) -> Iterator[CommandLine]:
    folders: list[str] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            del words[0]
        if words[:2] == ["mkdir", "-p"]:
            folders += words[2:]
        if not words or words[0] != "spectrum":
            continue
        output = None
        if ">" in words:
            words, output = words[: words.index(">")], words[words.index(">") + 1]
        yield CommandLine(
            place=block.place,
            pipeline=tuple(_parts(words)),
            output=output,
            folders=tuple(folders),
            excuse=block.excuse,
        )


def _parts(words: list[str]) -> Iterator[tuple[str, ...]]:
    while "|" in words:
        end = words.index("|")
        yield tuple(words[1:end])
        words = words[end + 1 :]
    yield tuple(words[1:])
