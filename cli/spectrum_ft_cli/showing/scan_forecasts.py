"""The forecast of a scan, where the user reads it."""

from spectrum_ft.records.scan_forecasts import ScanForecast
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given, formats
from spectrum_ft_reports.scan_forecasts.terminal import print_scan_forecast
from spectrum_ft_reports.scan_forecasts.views import scan_forecast_view


def show_forecast(forecast: ScanForecast) -> None:
    """Print what a scan takes, and on what it is spent, on standard output."""
    print_scan_forecast(ReportConsole(), scan_forecast_view(forecast))


def show(forecast: ScanForecast, given: Given) -> None:
    """Print what a scan takes, and on what it is spent, on standard output."""
    show_forecast(forecast)


def _markdown(forecast: ScanForecast, given: Given) -> str:
    from spectrum_ft_reports.scan_forecasts.markdown import scan_forecast_markdown

    return scan_forecast_markdown(scan_forecast_view(forecast))


def _page(forecast: ScanForecast, given: Given) -> str:
    from spectrum_ft_reports.scan_forecasts.page import scan_forecast_page

    return scan_forecast_page(forecast, source=given.source)


FORMATS: Formats = formats(page=_page, markdown=_markdown)
"""The files that a forecast is written to."""
