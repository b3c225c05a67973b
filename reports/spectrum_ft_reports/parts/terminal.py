"""What every report on a terminal is made of: text that stays text, facts, tables that fit."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.fitted_tables import Column, Entry, fit
from spectrum_ft_reports.parts.sparklines import BLOCKS, DIGITS, Cell, glyph

CHOSEN, LEFT = "bold green", "dim"
"""How what is chosen looks, and what is not."""

_ASCII = str.maketrans({"→": "to", "×": "x", "–": "-"})


class Wanted(NamedTuple):
    """A column: its title, the field of the row that it shows, and how soon it goes."""

    title: str
    """What stands above it."""
    field: str
    """The field of a row that it shows."""
    rank: int = 0
    """The highest goes first where there is no room; 0 stays."""
    left: bool = False
    """Whether it stands to the left, as words do."""


def speaks_unicode(console: Console) -> bool:
    """Whether the console can show more than ASCII."""
    return (console.encoding or "").lower().startswith("utf")


def shown(console: Console, text: str) -> str:
    """`text` in the signs that the console has."""
    if speaks_unicode(console):
        return text
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def literal(console: Console, text: str, style: str = "") -> Text:
    """Literal text: markup and emoji codes in a model's names stay what they are."""
    return Text(shown(console, text), style=style)


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line, folded where it is too long."""
    console.print(literal(console, text, style), soft_wrap=False)


def fact_grid(console: Console) -> Table:
    """An empty grid for facts: labels to the left, texts folded beside them."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=LEFT, no_wrap=True, overflow="crop")
    grid.add_column(overflow="fold")
    return grid


def print_facts(console: Console, facts: Sequence[Fact]) -> None:
    """Print facts, labels to the left."""
    grid = fact_grid(console)
    for fact in facts:
        grid.add_row(literal(console, fact.label), literal(console, fact.text))
    console.print(grid, soft_wrap=False)


def sparkline(console: Console, cells: Sequence[Cell]) -> Text:
    """Cells as blocks, or as digits where there is no Unicode; what is marked stands out."""
    glyphs = BLOCKS if speaks_unicode(console) else DIGITS
    text = Text()
    for cell in cells:
        text.append(glyph(cell, glyphs), style=CHOSEN if cell.marked else LEFT)
    return text


def print_table(
    console: Console,
    wanted: Sequence[Wanted],
    rows: Sequence[Any],
    *,
    styles: Mapping[str, str] | None = None,
) -> list[str]:
    """Print a table as wide as the console; the titles of the columns that found no room.

    The first column is the name and folds. `styles` are those of entries, by their text.
    """
    columns = []
    for place, column in enumerate(wanted):
        texts = [shown(console, attrgetter(column.field)(row)) for row in rows]
        looks = styles or {}
        columns.append(
            Column(
                title=shown(console, column.title),
                entries=tuple(Entry(text, looks.get(text, "")) for text in texts),
                rank=column.rank,
                folds=place == 0,
                left=column.left,
            )
        )
    fitted = fit(columns, max(1, console.width), "─" if speaks_unicode(console) else "-")
    for line in fitted.lines:
        console.print(line)
    return list(fitted.hidden)
