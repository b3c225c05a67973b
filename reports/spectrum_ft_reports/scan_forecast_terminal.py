"""The forecast of a scan on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from spectrum_ft_reports.fitted_tables import Column, Entry, fit
from spectrum_ft_reports.scan_forecast_views import KindForecastRow, ScanForecastView
from spectrum_ft_reports.training_terminal import print_facts


def print_scan_forecast(console: Console, view: ScanForecastView) -> None:
    """Print what a scan takes, and on what it is spent."""
    unicode = (console.encoding or "").lower().startswith("utf")
    console.print(Text(view.title if unicode else _ascii(view.title), style="bold"))
    console.print()
    for line in fit(_columns(view.rows, unicode), console.width, "─" if unicode else "-").lines:
        console.print(line)
    console.print()
    print_facts(console, view.facts)


def _columns(rows: Sequence[KindForecastRow], unicode: bool) -> list[Column]:
    kinds = [row.kind if unicode else _ascii(row.kind) for row in rows]
    return [
        Column(title="kind", entries=tuple(map(Entry, kinds)), folds=True),
        Column(title="matrices", entries=tuple(Entry(row.matrices) for row in rows)),
        Column(title="largest", entries=tuple(Entry(row.largest) for row in rows), rank=1),
        Column(title="time", entries=tuple(Entry(row.share) for row in rows)),
    ]


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")
