"""A training run on a terminal: blocks of facts, and the live view while it is at work."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spectrum_ft_reports.facts import Fact
from spectrum_ft_reports.sparklines import BLOCKS, DIGITS, binned, glyph
from spectrum_ft_reports.training_views import CourseView, RunView

_MAX_SPARKLINE = 40
_MAX_BAR = 60
_LABELS = 10  # the columns that labels take


def print_facts(console: Console, facts: Sequence[Fact]) -> None:
    """Print facts, labels to the left."""
    console.print(_grid(facts, _speaks_unicode(console)), soft_wrap=False)


def print_run(console: Console, view: RunView) -> None:
    """Print what came of a run."""
    console.print(_text(view.title, _speaks_unicode(console), style="bold"), soft_wrap=False)
    console.print()
    print_facts(console, view.facts)


def live_course(console: Console, view: CourseView) -> RenderableType:
    """A run at work, to be shown in place: how far it is, its losses, and where it stands."""
    unicode = _speaks_unicode(console)
    losses = _sparkline(view, min(_MAX_SPARKLINE, console.width - _LABELS), unicode)
    bar = Table.grid()
    width = min(_MAX_BAR, console.width)
    bar.add_row(ProgressBar(total=view.steps, completed=view.done, width=width))
    return Group(bar, _grid((Fact("step", view.time), *view.facts), unicode, losses))


def _sparkline(view: CourseView, width: int, unicode: bool) -> Text:
    glyphs = BLOCKS if unicode else DIGITS
    return Text("".join(glyph(cell, glyphs) for cell in binned(view.losses, max(1, width))))


def _speaks_unicode(console: Console) -> bool:
    return (console.encoding or "").lower().startswith("utf")


def _text(text: str, unicode: bool, style: str = "") -> Text:
    """Literal text: markup and emoji codes in a model's names stay what they are."""
    if not unicode:
        text = text.replace("→", "to").replace("×", "x").encode("ascii", "replace").decode("ascii")
    return Text(text, style=style)


def _grid(facts: Sequence[Fact], unicode: bool, losses: Text | None = None) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for fact in facts:
        grid.add_row(_text(fact.label, unicode), _text(fact.text, unicode))
        if fact.label == "loss" and losses:
            grid.add_row("", losses)
    return grid
