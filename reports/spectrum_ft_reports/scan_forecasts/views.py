"""What is said of a scan before it is made: how long, how much memory, and on what."""

from dataclasses import dataclass

from spectrum_ft.records.scan_forecasts import KindForecast, ScanForecast
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.titles import model_title
from spectrum_ft_reports.parts.untrusted import printable

_MOST_REASONS = 6
_WORTH_TELLING = 1.1  # how many times longer than with enough memory


@dataclass(frozen=True, slots=True, kw_only=True)
class KindForecastRow:
    """One line of the table."""

    kind: str
    """The kind."""
    matrices: str
    """How many of it will be scored."""
    largest: str
    """Rows x columns of the largest."""
    share: str
    """Its share of the time, in per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanForecastView:
    """The forecast of a scan."""

    title: str
    """The model in one line."""
    rows: tuple[KindForecastRow, ...]
    """What it is spent on, the costliest kind first."""
    facts: tuple[Fact, ...]
    """What it takes, one line each."""
    command: str
    """The command that asked for it."""


def scan_forecast_view(forecast: ScanForecast) -> ScanForecastView:
    """The view of `forecast`."""
    return ScanForecastView(
        title=model_title(forecast.model),
        rows=tuple(_row(kind, forecast) for kind in forecast.kinds),
        facts=(
            Fact("time", f"about {forecast_time(forecast)}{_bound(forecast)}"),
            Fact("memory", f"{numbers.size(forecast.memory_bytes)} at most"),
            Fact("reads", _reads(forecast)),
            Fact("spent on", _parts(forecast)),
            *_skipped(forecast),
            Fact("measured", _measured(forecast)),
            Fact(
                "unknown",
                "which spectra are kept from earlier scans, which saves time, and how many "
                "matrices need float64",
            ),
        ),
        command=printable(forecast.command, 2_000),
    )


def forecast_time(forecast: ScanForecast) -> str:
    """`4 min 12 s with 2 workers on cpu`."""
    workers = numbers.plural(forecast.workers, "worker")
    device = printable(forecast.environment.device, 60)
    return f"{numbers.seconds(forecast.seconds)} with {workers} on {device}"


def _row(kind: KindForecast, forecast: ScanForecast) -> KindForecastRow:
    return KindForecastRow(
        kind=printable(kind.kind, 60),
        matrices=f"{kind.matrices:,}",
        largest=" x ".join(map(str, kind.largest)),
        share=_per_cent(kind.seconds, _worker_seconds(forecast)),
    )


def _worker_seconds(forecast: ScanForecast) -> float:
    once = forecast.reading_seconds + forecast.gram_seconds + forecast.eigenvalues_seconds
    return once + forecast.again_seconds


def _per_cent(part: float, whole: float) -> str:
    if whole <= 0.0:
        return "-"
    percent = 100.0 * part / whole
    return f"{percent:.0f} %" if percent >= 0.5 else "< 1 %"


def _bound(forecast: ScanForecast) -> str:
    """What more memory would change, if much."""
    if forecast.seconds < _WORTH_TELLING * forecast.unbounded_seconds:
        return ""
    return f"; {numbers.seconds(forecast.unbounded_seconds)} if memory kept no worker waiting"


def _reads(forecast: ScanForecast) -> str:
    size = numbers.size(forecast.read_bytes)
    if forecast.streamed:
        return f"{size} over the network, which may well decide how long it takes"
    return f"{size}; from a slow disk that may take longer than the rest"


def _parts(forecast: ScanForecast) -> str:
    whole = _worker_seconds(forecast)
    parts = (
        (forecast.reading_seconds, "reading and hashing"),
        (forecast.gram_seconds, "Gram matrices"),
        (forecast.eigenvalues_seconds, "their eigenvalues"),
        (forecast.again_seconds, "float64 for one in ten"),
    )
    return ", ".join(f"{_per_cent(seconds, whole)} {name}" for seconds, name in parts)


def _measured(forecast: ScanForecast) -> str:
    if forecast.measured is None:
        return "nothing, for lack of memory: the speed of another machine is assumed"
    return f"this machine, on {printable(forecast.measured)}, all workers at work"


def _skipped(forecast: ScanForecast) -> list[Fact]:
    if not forecast.skipped:
        return []
    listed = [f"{number:,} × {printable(reason)}" for reason, number in forecast.skipped.items()]
    hidden = len(listed) - _MOST_REASONS
    more = f"; {hidden} more reasons" if hidden > 0 else ""
    return [Fact("skipped", "; ".join(listed[:_MOST_REASONS]) + more)]
