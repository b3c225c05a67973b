"""What a reader sees of a record in each medium, as text on one line."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt

from program import run_spectrum
from spectrum_ft_cli.main import run

MEDIA = ("terminal", "page", "markdown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One record in every medium, each as the text that a reader sees."""

    terminal: str
    """At 400 columns, where nothing has to be left out."""
    page: str
    """The page, the titles of its pictures included."""
    markdown: str
    """Markdown, rendered."""

    def in_medium(self, medium: str) -> str:
        """The text in a medium of `MEDIA`."""
        text: str = getattr(self, medium)
        return text


def show(record: Path, folder: Path) -> Shown:
    """`record` as the program shows it."""
    terminal = run_spectrum("report", record.name, cwd=record.parent, env={"COLUMNS": "400"})
    assert terminal.returncode == 0, terminal.stderr
    for ending in ("html", "md"):
        assert run(["report", str(record), "-o", str(folder / f"shown.{ending}"), "-q"]) == 0
    markdown = (folder / "shown.md").read_text("utf-8")
    reader = MarkdownIt("commonmark").enable("table")
    return Shown(
        terminal=on_one_line(terminal.stdout),
        page=text_of((folder / "shown.html").read_text("utf-8")),
        markdown=text_of(reader.render(markdown)),
    )


def text_of(page: str) -> str:
    """The text of markup, without what scripts and styles say."""
    parts: list[str] = []

    class Reader(HTMLParser):
        hidden = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.hidden += tag in {"script", "style"}
            if tag not in {"b", "strong", "i", "em", "code", "span", "wbr", "small", "sup"}:
                parts.append(" ")

        def handle_endtag(self, tag: str) -> None:
            self.hidden -= tag in {"script", "style"}

        def handle_data(self, data: str) -> None:
            if not self.hidden:
                parts.append(data)

    reader = Reader()
    reader.feed(page)
    reader.close()
    return on_one_line("".join(parts))


def on_one_line(text: str) -> str:
    """`text` with every stretch of blanks as one."""
    return " ".join(text.split())


def figures_of(text: str) -> set[str]:
    """Every number in `text`, with the unit behind it."""
    number = r"(?<![\w.,])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?(?![\w.]*\d)"
    unit = r"(?: (?:%|[kMBT]|[KMG]iB|s|min|h|points?|tokens/s)(?![\w/]))?"
    return {found.rstrip(",") for found in re.findall(number + unit, text)}
