"""Views on a terminal, from 60 columns up, with and without colour and Unicode."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectrum_ft_reports.sparklines import BLOCKS, DIGITS, Cell, binned, glyph
from spectrum_ft_reports.views import MatrixRow, ScanView

_PLAIN_RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_MAX_LAYERS = 40
_CHOSEN, _LEFT = "bold green", "dim"


def print_scan(console: Console, view: ScanView, *, with_matrices: bool) -> None:
    """Print the scan's table and facts; every matrix as well if asked for."""
    unicode = (console.encoding or "").lower().startswith("utf")
    _line(console, view.title, unicode, style="bold")
    console.print(_kind_table(console, view, unicode))
    if with_matrices:
        console.print(_matrix_table(view.matrices, unicode))
    for fact in view.facts:
        _line(console, fact, unicode)


def _line(console: Console, text: str, unicode: bool, style: str = "") -> None:
    # Text objects, because markup and emoji codes in a model's names must stay what they are.
    console.print(Text(_in_charset(text, unicode), style=style))


def _in_charset(text: str, unicode: bool) -> str:
    return text if unicode else text.replace("→", "to").encode("ascii", "replace").decode("ascii")


def _kind_table(console: Console, view: ScanView, unicode: bool) -> Table:
    width = _sparkline_width(console.width, view)
    table = Table(box=SIMPLE_HEAD if unicode else _PLAIN_RULE, pad_edge=False, padding=(0, 1))
    table.add_column("kind", overflow="ellipsis", no_wrap=True)
    longest = max((len(row.cells) for row in view.rows), default=0)
    joined = "" if longest <= width else f" ({longest} in {width} steps)"
    header = f"{view.score} by layer, {view.layers}{joined}"
    table.add_column(
        Text(_in_charset(header, unicode)), min_width=min(width, longest), no_wrap=True
    )
    for title in ("median", "train", "params", "margin"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in view.rows:
        table.add_row(
            Text(_in_charset(row.kind, unicode)),
            _sparkline(binned(row.cells, width), BLOCKS if unicode else DIGITS),
            row.median,
            row.train,
            row.params,
            row.margin,
        )
    return table


def _sparkline_width(total: int, view: ScanView) -> int:
    kind = max((len(row.kind) for row in view.rows), default=0)
    figures = sum(
        max(len(title), *(len(getattr(row, title)) for row in view.rows))
        for title in ("median", "train", "params", "margin")
    )
    return max(8, min(_MAX_LAYERS, total - kind - figures - 12))


def _sparkline(cells: Sequence[Cell], glyphs: str) -> Text:
    text = Text()
    for cell in cells:
        text.append(glyph(cell, glyphs), style=_CHOSEN if cell.marked else _LEFT)
    return text


def _matrix_table(rows: Sequence[MatrixRow], unicode: bool) -> Table:
    table = Table(box=SIMPLE_HEAD if unicode else _PLAIN_RULE, pad_edge=False, padding=(0, 1))
    table.add_column("matrix", overflow="fold")
    for title in ("shape", "score", "signal", "train"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("flags")
    for row in rows:
        table.add_row(
            Text(_in_charset(row.name, unicode), style=_CHOSEN if row.trained else ""),
            row.shape,
            row.score,
            row.signal,
            "yes" if row.trained else "",
            row.flags,
        )
    return table
