"""The forecast of a scan on a terminal."""

from rich.console import Console

from spectrum_ft_reports.parts.terminal import Wanted, print_facts, print_table, say
from spectrum_ft_reports.scan_forecasts.views import ScanForecastView

_COLUMNS = (
    Wanted("kind", "kind"),
    Wanted("matrices", "matrices"),
    Wanted("largest", "largest", 1),
    Wanted("time", "share"),
)


def print_scan_forecast(console: Console, view: ScanForecastView) -> None:
    """Print what a scan takes, and on what it is spent."""
    say(console, view.title, style="bold")
    console.print()
    print_table(console, _COLUMNS, view.rows)
    console.print()
    print_facts(console, view.facts)
