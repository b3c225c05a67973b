"""Views on a terminal, from 60 columns up, with and without colour and Unicode."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.table import Table

from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.sparklines import binned
from spectrum_ft_reports.parts.terminal import CHOSEN, fact_grid, literal, sparkline, speaks_unicode
from spectrum_ft_reports.scans.views import KindRow, MatrixRow, ScanView

_PLAIN_RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_MAX_LAYERS = 40
_FIGURES = ("median", "train", "params")


def print_scan(console: Console, view: ScanView) -> None:
    """Print the scan's table and facts, and every matrix if the view has them."""
    width = _sparkline_width(console.width, view.rows)
    console.print(literal(console, view.title, style="bold"))
    console.print()
    console.print(_kind_table(console, view, width))
    if view.matrices:
        console.print()
        console.print(_matrix_table(console, view.matrices))
    console.print()
    console.print(_facts(console, view, width))


def _sparkline_width(total: int, rows: Sequence[KindRow]) -> int:
    """The room that the other columns leave: kind, three figures, three spaces between columns."""
    kind = max((len(row.kind) for row in rows), default=0)
    figures = [max([len(title), *(len(getattr(row, title)) for row in rows)]) for title in _FIGURES]
    return max(8, min(_MAX_LAYERS, total - kind - sum(figures) - 3 * (1 + len(figures))))


def _kind_table(console: Console, view: ScanView, width: int) -> Table:
    table = _table(console)
    table.add_column("kind", no_wrap=True, overflow="ellipsis")
    header = f"{view.score} by layer, {view.layers}"
    short = f"{view.score} by layer"
    table.add_column(literal(console, header if len(header) <= width else short), min_width=width)
    for title in _FIGURES:
        table.add_column(title, justify="right", no_wrap=True)
    for row in view.rows:
        table.add_row(
            literal(console, row.kind),
            sparkline(console, binned(row.cells, width)),
            *(getattr(row, title) for title in _FIGURES),
        )
    return table


def _table(console: Console) -> Table:
    return Table(
        box=SIMPLE_HEAD if speaks_unicode(console) else _PLAIN_RULE,
        show_edge=False,
        pad_edge=False,
        header_style="",
    )


def _facts(console: Console, view: ScanView, width: int) -> Table:
    """The facts, labels to the left; first of all how layers were joined, if they were."""
    layers = max((len(row.cells) for row in view.rows), default=0)
    joined = [Fact("layers", f"{layers} in {width} steps, means")] if layers > width else []
    grid = fact_grid(console)
    for fact in (*joined, *view.facts):
        grid.add_row(literal(console, fact.label), literal(console, fact.text))
    return grid


def _matrix_table(console: Console, rows: Sequence[MatrixRow]) -> Table:
    table = _table(console)
    table.add_column("kind", no_wrap=True, overflow="ellipsis")
    for title in ("layer", "shape", "score", "signal", "train"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("flags")
    for row in rows:
        table.add_row(
            literal(console, row.kind, style=CHOSEN if row.trained else ""),
            row.layer,
            row.shape,
            row.score,
            row.signal,
            row.trained,
            row.flags,
        )
    return table
