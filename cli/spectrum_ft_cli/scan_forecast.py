"""What a scan will take: `spectrum scan --estimate`, and a line before a long one."""

import sys
from pathlib import Path

from spectrum_ft.record_files import to_json
from spectrum_ft.scanning.compute import Compute
from spectrum_ft.scanning.jobs import ScanJob
from spectrum_ft_cli.output import emit
from spectrum_ft_cli.talk import Talk

_WORTH_TELLING_SECONDS = 60.0


def estimate(
    job: ScanJob,
    talk: Talk,
    *,
    compute: Compute,
    cache: bool,
    as_json: bool,
    output: Path | None,
    force: bool,
) -> None:
    """Print what the scan would take, and on what it would be spent; no weight is read."""
    from spectrum_ft.scanning.estimating.forecasting import forecast_scan

    forecast = forecast_scan(job, compute, keep=cache)
    if output is not None:
        emit(to_json(forecast), output, force=force)
        talk.say(f"Wrote {output}.")
    if as_json:
        sys.stdout.write(to_json(forecast))
        return
    from spectrum_ft_cli.showing.scan_forecasts import show_forecast  # rich, for those who look

    show_forecast(forecast)


def say_forecast(job: ScanJob, compute: Compute, talk: Talk, *, cache: bool) -> None:
    """Say how long a scan is going to take, if that is more than a minute."""
    if talk.quiet:
        return
    from spectrum_ft.scanning.estimating.forecasting import forecast_of_long_scan
    from spectrum_ft_reports.parts import numbers
    from spectrum_ft_reports.scan_forecasts.views import forecast_time

    forecast = forecast_of_long_scan(job, compute, keep=cache)
    if forecast is None or forecast.seconds < _WORTH_TELLING_SECONDS:
        return
    network = ", if the network keeps up" if forecast.streamed else ""
    talk.say(
        f"This will take about {forecast_time(forecast)} and {numbers.size(forecast.memory_bytes)} "
        f"of memory{network}; less if spectra are kept from earlier scans."
    )
