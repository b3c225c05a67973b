"""A diff on a terminal, from 60 columns up, with and without colour and Unicode."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from spectrum_ft_reports.diff_views import DiffView, KindDiffRow, MatrixDiffRow
from spectrum_ft_reports.fitted_tables import Column, Entry, fit
from spectrum_ft_reports.training_terminal import print_facts

_ASCII = str.maketrans({"→": "to", "×": "x"})
_STYLES = {"enters": "bold green", "leaves": "dim"}


class _Wanted(NamedTuple):
    """A column: its title, the field of the row that it shows, and how soon it goes."""

    title: str
    field: str
    rank: int = 0


_KIND_COLUMNS = (
    _Wanted("kind", "kind"),
    _Wanted("changed", "changed"),
    _Wanted("rank corr.", "correlation"),
    _Wanted("same picks", "picks"),
    _Wanted("Jaccard", "jaccard", 2),
    _Wanted("median", "medians", 3),
    _Wanted("shift", "shift", 1),
)


def print_diff(console: Console, view: DiffView) -> None:
    """Print what is compared, the kinds, and the matrices that changed most."""
    print_facts(console, view.header)
    console.print()
    hidden = _print_table(console, _KIND_COLUMNS, view.kinds)
    console.print()
    _say(console, view.heading, style="bold")
    if view.matrices:
        hidden += _print_table(console, _matrix_columns(view), view.matrices)
    console.print()
    if hidden:
        _say(console, f"no room here for: {', '.join(dict.fromkeys(hidden))}", style="dim")
    print_facts(console, view.notes)


def _matrix_columns(view: DiffView) -> list[_Wanted]:
    spectrum = ("moved", "distance") if view.has_distances else ("spectrum", "spectrum")
    return [
        _Wanted("kind", "kind"),
        _Wanted("layer", "layer"),
        _Wanted(view.score, "scores", 3),
        _Wanted("change", "change"),
        _Wanted(*spectrum, 2),
        _Wanted("rank", "rank", 1),
        _Wanted("pick", "selected"),
    ]


def _print_table(
    console: Console, wanted: Sequence[_Wanted], rows: Sequence[KindDiffRow | MatrixDiffRow]
) -> list[str]:
    """Print a table, names to the left; the titles of the columns that found no room."""
    columns = []
    for title, field, rank in wanted:
        texts = [_shown(console, attrgetter(field)(row)) for row in rows]
        styles = _STYLES if field == "selected" else {}
        columns.append(
            Column(
                title=_shown(console, title),
                entries=tuple(Entry(text, styles.get(text, "")) for text in texts),
                rank=rank,
                folds=field == "kind",
                left=field == "selected",
            )
        )
    fitted = fit(columns, max(1, console.width), "─" if _speaks_unicode(console) else "-")
    for line in fitted.lines:
        console.print(line)
    return list(fitted.hidden)


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(_shown(console, text), style=style))


def _shown(console: Console, text: str) -> str:
    """Literal text: markup and emoji codes in a model's names stay what they are."""
    if _speaks_unicode(console):
        return text
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def _speaks_unicode(console: Console) -> bool:
    return (console.encoding or "").lower().startswith("utf")
