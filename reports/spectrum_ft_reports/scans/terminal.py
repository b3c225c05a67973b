"""Views on a terminal of any width, with and without colour and Unicode."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.sparklines import binned
from spectrum_ft_reports.parts.terminal import (
    CHOSEN,
    Wanted,
    fact_grid,
    literal,
    shown,
    sparkline,
    speaks_unicode,
)
from spectrum_ft_reports.scans.views import KindRow, MatrixRow, ScanView

_PLAIN_RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_MOST_LAYERS, _LEAST_LAYERS = 40, 8
_GAP = 3
_NARROW = 16
"""The columns that kinds are not cut below, while a figure can go instead."""

_FIGURES = (Wanted("median", "median", 2), Wanted("train", "train"), Wanted("params", "params", 3))
_DETAILS = (
    Wanted("layer", "layer"),
    Wanted("shape", "shape", 4),
    Wanted("score", "score", 1),
    Wanted("signal", "signal", 3),
    Wanted("train", "trained", 2),
    Wanted("flags", "flags", 5, left=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What there is room for beside kinds."""

    kinds: int
    """The width of the kinds."""
    columns: tuple[Wanted, ...]
    """The figures that are shown."""
    rest: int
    """What is left of the width, another gap taken off."""


def print_scan(console: Console, view: ScanView) -> None:
    """Print the scan's table and facts, and every matrix if the view has them."""
    console.print(literal(console, view.title, style="bold"))
    console.print()
    room = _room(console, view.rows, _FIGURES)
    layers = 0
    if (
        room.rest < _LEAST_LAYERS
    ):  # a long kind is cut for the sake of the layers, to a half at most
        cut = _LEAST_LAYERS - room.rest
        if room.kinds - cut >= max(_NARROW, room.kinds // 2):
            room = _Room(kinds=room.kinds - cut, columns=room.columns, rest=_LEAST_LAYERS)
    if room.rest >= _LEAST_LAYERS:
        layers = min(_MOST_LAYERS, room.rest)
    console.print(_kind_table(console, view, room, layers))
    if view.matrices:
        console.print()
        console.print(_matrix_table(console, view.matrices))
    console.print()
    console.print(_facts(console, view, layers))


def _room(
    console: Console, rows: Sequence[KindRow] | Sequence[MatrixRow], wanted: Sequence[Wanted]
) -> _Room:
    """The columns of `wanted` that there is room for; the highest rank goes first."""
    longest = max((cell_len(shown(console, row.kind)) for row in rows), default=0)
    widths = {
        column: max([len(column.title), *(cell_len(getattr(row, column.field)) for row in rows)])
        for column in wanted
    }
    kept = list(wanted)
    while True:
        rest = console.width - sum(widths[column] + _GAP for column in kept)
        if rest >= min(longest, _NARROW) or len(kept) == 1:
            break
        kept.remove(max(kept, key=lambda column: column.rank))
    kinds = max(1, min(longest, rest))
    return _Room(kinds=kinds, columns=tuple(kept), rest=rest - kinds - _GAP)


def _kind_table(console: Console, view: ScanView, room: _Room, layers: int) -> Table:
    table = _table(console)
    table.add_column("kind", no_wrap=True, overflow="crop")
    if layers:
        headers = (f"{view.score} by layer, {view.layers}", f"{view.score} by layer", "by layer")
        header = next((text for text in headers if len(text) <= layers), headers[-1])
        table.add_column(literal(console, header), min_width=layers, no_wrap=True, overflow="crop")
    _add_figures(table, room)
    for row in view.rows:
        table.add_row(
            _cut(console, row.kind, room.kinds),
            *([sparkline(console, binned(row.cells, layers))] if layers else []),
            *(getattr(row, column.field) for column in room.columns),
        )
    return table


def _table(console: Console) -> Table:
    return Table(
        box=SIMPLE_HEAD if speaks_unicode(console) else _PLAIN_RULE,
        show_edge=False,
        pad_edge=False,
        header_style="",
    )


def _add_figures(table: Table, room: _Room) -> None:
    for column in room.columns:
        table.add_column(
            column.title,
            justify="left" if column.left else "right",
            no_wrap=True,
            overflow="crop",
        )


def _cut(console: Console, kind: str, width: int, style: str = "") -> Text:
    """A kind, cut where it is too long; most of its end is kept, which tells it from others."""
    text = shown(console, kind)
    mark = "…" if speaks_unicode(console) else "..."
    if cell_len(text) > width:
        room = max(0, width - len(mark))
        most = 2 * room // 3
        tail = text[-most:] if most else ""
        while cell_len(tail) > most:
            tail = tail[1:]
        text = set_cell_size(text, room - cell_len(tail)) + mark + tail
    return Text(text, style=style)


def _facts(console: Console, view: ScanView, layers: int) -> Table:
    """The facts, labels to the left; first of all how layers were joined, if they were."""
    deepest = max((len(row.cells) for row in view.rows), default=0)
    joined = [Fact("layers", f"{deepest} in {layers} steps, means")] if deepest > layers > 0 else []
    grid = fact_grid(console)
    for fact in (*joined, *view.facts):
        grid.add_row(literal(console, fact.label), literal(console, fact.text))
    return grid


def _matrix_table(console: Console, rows: Sequence[MatrixRow]) -> Table:
    room = _room(console, rows, _DETAILS)
    table = _table(console)
    table.add_column("kind", no_wrap=True, overflow="crop")
    _add_figures(table, room)
    for row in rows:
        table.add_row(
            _cut(console, row.kind, room.kinds, style=CHOSEN if row.trained else ""),
            *(getattr(row, column.field) for column in room.columns),
        )
    return table
