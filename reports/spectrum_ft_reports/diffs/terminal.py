"""A diff on a terminal, from 60 columns up, with and without colour and Unicode."""

from rich.console import Console

from spectrum_ft_reports.diffs.views import DiffView
from spectrum_ft_reports.parts.terminal import Wanted, print_facts, print_table, say

_STYLES = {"enters": "bold green", "leaves": "dim"}


_KIND_COLUMNS = (
    Wanted("kind", "kind"),
    Wanted("changed", "changed"),
    Wanted("rank corr.", "correlation"),
    Wanted("same picks", "picks"),
    Wanted("Jaccard", "jaccard", 2),
    Wanted("median", "medians", 3),
    Wanted("shift", "shift", 1),
)


def print_diff(console: Console, view: DiffView) -> None:
    """Print what is compared, the kinds, and the matrices that changed most."""
    print_facts(console, view.header)
    console.print()
    hidden = print_table(console, _KIND_COLUMNS, view.kinds)
    console.print()
    say(console, view.heading, style="bold")
    if view.matrices:
        hidden += print_table(console, _matrix_columns(view), view.matrices, styles=_STYLES)
    console.print()
    if hidden:
        say(console, f"no room here for: {', '.join(dict.fromkeys(hidden))}", style="dim")
    print_facts(console, view.notes)


def _matrix_columns(view: DiffView) -> list[Wanted]:
    spectrum = ("moved", "distance") if view.has_distances else ("spectrum", "spectrum")
    return [
        Wanted("kind", "kind"),
        Wanted("layer", "layer"),
        Wanted(view.score, "scores", 3),
        Wanted("change", "change"),
        Wanted(*spectrum, 2),
        Wanted("rank", "rank", 1),
        Wanted("pick", "selected", left=True),
    ]
