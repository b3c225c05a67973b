"""An evaluation on a terminal."""

from rich.console import Console

from spectrum_ft_reports.evaluations.views import EvaluationView
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.terminal import LEFT, Wanted, print_facts, print_table, say

_COLUMNS = (
    Wanted("metric", "name"),
    Wanted("value", "value"),
    Wanted("95 % interval", "interval", rank=1),
    Wanted("of", "of", rank=2, left=True),
)


def print_evaluation(console: Console, view: EvaluationView) -> None:
    """Print what was measured, on what and how, and the first wrong answers."""
    say(console, view.title, style="bold")
    console.print()
    if view.metrics:
        hidden = print_table(console, _COLUMNS, view.metrics)
        if hidden:
            say(console, f"no room here for: {', '.join(hidden)}", style=LEFT)
        console.print()
    print_facts(console, [*view.facts, *(Fact("note", caution) for caution in view.cautions)])
    if view.wrong:
        console.print()
        say(console, "the first wrong answers", style="bold")
        print_facts(console, [Fact("-", f"{place}: {text}") for place, text in view.wrong])
