"""A training run on a terminal: what came of it, and the live view while it is at work."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.sparklines import BLOCKS, DIGITS, Cell, binned, glyph
from spectrum_ft_reports.parts.terminal import (
    fact_grid,
    literal,
    say,
    speaks_unicode,
)
from spectrum_ft_reports.runs.live import CourseView
from spectrum_ft_reports.runs.views import RunView

_MAX_SPARKLINE = 40
_MAX_BAR = 60
_LABELS = 10  # the columns that labels take


def print_run(console: Console, view: RunView) -> None:
    """Print what came of a run, and the course of its loss where that is known."""
    say(console, view.title, style="bold")
    console.print()
    grid = fact_grid(console)
    for fact in (*view.facts, *(Fact("note", caution) for caution in view.cautions)):
        grid.add_row(literal(console, fact.label), literal(console, fact.text))
        if fact.label == "loss" and len(view.losses) > 1:
            grid.add_row("", _sparkline(console, view.losses))
    console.print(grid, soft_wrap=False)


def live_course(console: Console, view: CourseView) -> RenderableType:
    """A run at work, to be shown in place: how far it is, its losses, and where it stands."""
    bar = Table.grid()
    width = min(_MAX_BAR, console.width)
    bar.add_row(ProgressBar(total=view.steps, completed=view.done, width=width))
    grid = fact_grid(console)
    for fact in (Fact("step", view.time), *view.facts):
        grid.add_row(literal(console, fact.label), literal(console, fact.text))
        if fact.label == "loss":
            grid.add_row("", _sparkline(console, view.losses))
    return Group(bar, grid)


def _sparkline(console: Console, losses: Sequence[Cell]) -> Text:
    width = max(1, min(_MAX_SPARKLINE, console.width - _LABELS))
    glyphs = BLOCKS if speaks_unicode(console) else DIGITS
    return Text("".join(glyph(cell, glyphs) for cell in binned(losses, width)))
