"""The forecast of a scan as Markdown."""

from spectrum_ft_reports.parts.markdown import fenced, safe, table
from spectrum_ft_reports.scan_forecasts.views import ScanForecastView


def scan_forecast_markdown(view: ScanForecastView) -> str:
    """What a scan takes, on what it is spent, and the command that asked."""
    rows = [(safe(row.kind), row.matrices, row.largest, row.share) for row in view.rows]
    parts = [
        f"### Forecast of a scan: {safe(view.title)}",
        "\n".join(f"- {safe(f'{fact.label}: {fact.text}')}" for fact in view.facts),
        table(("kind", "matrices", "largest", "time"), rows, names=1) if rows else "",
        fenced(view.command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
