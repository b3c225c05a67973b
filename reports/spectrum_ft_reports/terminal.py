"""Views on a terminal, from 60 columns up, with and without colour and Unicode."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectrum_ft_reports.facts import Fact
from spectrum_ft_reports.sparklines import BLOCKS, DIGITS, Cell, binned, glyph
from spectrum_ft_reports.views import KindRow, MatrixRow, ScanView

_PLAIN_RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_MAX_LAYERS = 40
_FIGURES = ("median", "train", "params")
_CHOSEN, _LEFT = "bold green", "dim"


def print_scan(console: Console, view: ScanView) -> None:
    """Print the scan's table and facts, and every matrix if the view has them."""
    unicode = (console.encoding or "").lower().startswith("utf")
    width = _sparkline_width(console.width, view.rows)
    console.print(_text(view.title, unicode, style="bold"))
    console.print()
    console.print(_kind_table(view, width, unicode))
    if view.matrices:
        console.print()
        console.print(_matrix_table(view.matrices, unicode))
    console.print()
    console.print(_facts(view, width, unicode))


def _text(text: str, unicode: bool, style: str = "") -> Text:
    """Literal text: markup and emoji codes in a model's names stay what they are."""
    if not unicode:
        text = text.replace("→", "to").replace("×", "x").encode("ascii", "replace").decode("ascii")
    return Text(text, style=style)


def _sparkline_width(total: int, rows: Sequence[KindRow]) -> int:
    """The room that the other columns leave: kind, three figures, three spaces between columns."""
    kind = max((len(row.kind) for row in rows), default=0)
    figures = [max([len(title), *(len(getattr(row, title)) for row in rows)]) for title in _FIGURES]
    return max(8, min(_MAX_LAYERS, total - kind - sum(figures) - 3 * (1 + len(figures))))


def _kind_table(view: ScanView, width: int, unicode: bool) -> Table:
    table = _table(unicode)
    table.add_column("kind", no_wrap=True, overflow="ellipsis")
    header = f"{view.score} by layer, {view.layers}"
    short = f"{view.score} by layer"
    table.add_column(_text(header if len(header) <= width else short, unicode), min_width=width)
    for title in _FIGURES:
        table.add_column(title, justify="right", no_wrap=True)
    for row in view.rows:
        table.add_row(
            _text(row.kind, unicode),
            _sparkline(binned(row.cells, width), BLOCKS if unicode else DIGITS),
            *(getattr(row, title) for title in _FIGURES),
        )
    return table


def _table(unicode: bool) -> Table:
    return Table(
        box=SIMPLE_HEAD if unicode else _PLAIN_RULE,
        show_edge=False,
        pad_edge=False,
        header_style="",
    )


def _facts(view: ScanView, width: int, unicode: bool) -> Table:
    """The facts, labels to the left; first of all how layers were joined, if they were."""
    layers = max((len(row.cells) for row in view.rows), default=0)
    joined = [Fact("layers", f"{layers} in {width} steps, means")] if layers > width else []
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=_LEFT, no_wrap=True)
    grid.add_column(overflow="fold")
    for fact in (*joined, *view.facts):
        grid.add_row(_text(fact.label, unicode), _text(fact.text, unicode))
    return grid


def _sparkline(cells: Sequence[Cell], glyphs: str) -> Text:
    text = Text()
    for cell in cells:
        text.append(glyph(cell, glyphs), style=_CHOSEN if cell.marked else _LEFT)
    return text


def _matrix_table(rows: Sequence[MatrixRow], unicode: bool) -> Table:
    table = _table(unicode)
    table.add_column("kind", no_wrap=True, overflow="ellipsis")
    for title in ("layer", "shape", "score", "signal", "train"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("flags")
    for row in rows:
        table.add_row(
            _text(row.kind, unicode, style=_CHOSEN if row.trained else ""),
            row.layer,
            row.shape,
            row.score,
            row.signal,
            row.trained,
            row.flags,
        )
    return table
