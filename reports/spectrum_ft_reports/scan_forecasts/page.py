"""The forecast of a scan as a page."""

from spectrum_ft.records.scan_forecasts import SCAN_FORECAST_SCHEMA, ScanForecast
from spectrum_ft_reports.pages.masthead import Masthead, Source, making
from spectrum_ft_reports.pages.rendering import render
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import KeyFigure
from spectrum_ft_reports.scan_forecasts.views import forecast_time, scan_forecast_view


def scan_forecast_page(forecast: ScanForecast, *, source: Source) -> str:
    """The page of `forecast`, read from `source`."""
    view = scan_forecast_view(forecast)
    matrices = numbers.plural(forecast.matrices, "matrix", "matrices")
    return render(
        "scan_forecast.html",
        head=Masthead(
            kind="scan forecast",
            title=view.title,
            verdict=f"A scan of {matrices} takes about {forecast_time(forecast)}.",
            figures=(
                KeyFigure(
                    label="time",
                    value=numbers.seconds(forecast.seconds),
                    note=f"with {numbers.plural(forecast.workers, 'worker')}",
                ),
                KeyFigure(label="memory at most", value=numbers.size(forecast.memory_bytes)),
                KeyFigure(
                    label="reads",
                    value=numbers.size(forecast.read_bytes),
                    note="over the network" if forecast.streamed else "from disk",
                ),
            ),
            cautions=_cautions(forecast),
        ),
        made=making(
            command=forecast.command,
            schema=SCAN_FORECAST_SCHEMA,
            source=source,
            environment=forecast.environment,
        ),
        view=view,
        rows=list(zip(view.rows, forecast.kinds, strict=True)),
    )


def _cautions(forecast: ScanForecast) -> tuple[str, ...]:
    found = []
    if forecast.measured is None:
        found.append(
            "The speed of another machine is assumed, since this one had no room to measure."
        )
    if forecast.streamed:
        found.append("The weights come over the network, which may well take longer than the scan.")
    return tuple(found)
