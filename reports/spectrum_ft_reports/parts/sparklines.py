"""A row of numbers as a row of blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from spectrum_ft_reports.parts.bounds import bounded

BLOCKS = "▁▂▃▄▅▆▇█"
DIGITS = "0123456789"

_MOST_CELLS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One position of a sparkline: a layer, or several neighbours where there is no room."""

    height: float | None
    """Between 0 and 1, the row's smallest and largest; None for a position without a number."""
    marked: bool
    """Whether it is shown as chosen."""


def binned(cells: Sequence[Cell], width: int) -> list[Cell]:
    """`cells` in at most `width` positions, neighbours joined: their mean, chosen if any is."""
    if len(cells) <= width:
        return list(cells)
    bounds = [i * len(cells) // width for i in range(width + 1)]
    return [_joined(cells[begin:end]) for begin, end in pairwise(bounds)]


def _joined(cells: Sequence[Cell]) -> Cell:
    heights = [cell.height for cell in cells if cell.height is not None]
    return Cell(
        height=sum(heights) / len(heights) if heights else None,
        marked=any(cell.marked for cell in cells),
    )


def glyph(cell: Cell, glyphs: str) -> str:
    """The sign for a cell, of the signs in `glyphs` from lowest to highest."""
    if cell.height is None:
        return " "
    return glyphs[min(int(cell.height * len(glyphs)), len(glyphs) - 1)]


def height(value: float, low: float, high: float) -> float:
    """Where finite `value` lies from `low` to `high`, from 0 to 1; a half where those are one."""
    # Of halves: the difference of the largest floats is none.
    low, span = low / 2, high / 2 - low / 2
    return (value / 2 - low) / span if span > 0.0 else 0.5


def curve(values: Sequence[float]) -> tuple[Cell, ...]:
    """Values as the heights of a sparkline, neighbours joined where there are very many."""
    if not values:
        return ()
    size = -(-len(values) // _MOST_CELLS)
    drawn = [bounded(value) for value in values]
    means = [fmean(drawn[start : start + size]) for start in range(0, len(drawn), size)]
    low, high = min(means), max(means)
    return tuple(Cell(height=height(mean, low, high), marked=False) for mean in means)
