"""Pages without a record: the frame of every page, with content that the test chose."""

from pathlib import Path
from typing import Any

from spectrum_ft_reports.pages.masthead import Making, Masthead, Source, making
from spectrum_ft_reports.pages.rendering import render
from spectrum_ft_reports.parts.facts import KeyFigure


def a_masthead(**changes: Any) -> Masthead:
    """The top of a page."""
    plain: dict[str, Any] = {
        "kind": "scan",
        "title": "someone/tiny, 1.2 M weights, 8 layers",
        "verdict": "14 of 56 matrices train.",
        "figures": (KeyFigure(label="trainable", value="25.0 %", note="of the weights"),),
        "cautions": ("one seed",),
    }
    return Masthead(**(plain | changes))


def a_making() -> Making:
    """The end of a page."""
    source = Source(name="scan.json", digest="c" * 64)
    return making(
        command="spectrum scan ./model -o scan.json",
        schema="spectrum-ft/scan@1",
        source=source,
        environment=None,
    )


def a_frame(
    *,
    head: Masthead | None = None,
    made: Making | None = None,
    scripts: tuple[str, ...] = ("table.js", "copy.js"),
) -> str:
    """A page with nothing in it but what all pages have."""
    return render("base.html", scripts=scripts, head=head or a_masthead(), made=made or a_making())


def write_page(path: Path, content: str) -> Path:
    """A page with `content`, markup that the test chose, in the place of a record's."""
    path.write_text(a_frame().replace("<main>", f"<main>\n{content}", 1), "utf-8")
    return path
