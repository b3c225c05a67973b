"""What a scan will take, told before any weight is read."""

from dataclasses import dataclass

from spectrum_ft.records import figures
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.rows import Preview, Row, Tabular
from spectrum_ft.records.scans import ModelInfo

SCAN_FORECAST_SCHEMA = "spectrum-ft/scan-forecast@1"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindForecast:
    """What the matrices of one kind take."""

    kind: str
    """The kind, e.g. `mlp.up_proj`."""
    matrices: int
    """How many of it will be scored; each expert counts."""
    largest: tuple[int, ...]
    """Rows and columns of the largest."""
    seconds: float
    """The time of one worker that it takes."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ScanForecast(Tabular):
    """What a scan takes where no spectrum is known from earlier ones."""

    schema: str = SCAN_FORECAST_SCHEMA
    """Name and version of this layout."""
    model: ModelInfo
    """The model that would be scanned."""
    matrices: int
    """How many matrices would be scored."""
    skipped: dict[str, int]
    """How many tensors would not be, by reason."""
    workers: int
    """How many matrices would be computed at a time."""
    seconds: float
    """Wall-clock seconds, with the weights at hand as fast as memory gives them."""
    unbounded_seconds: float
    """The same if memory never kept a worker waiting."""
    reading_seconds: float
    """Worker seconds spent on reading from memory, hashing and decoding."""
    gram_seconds: float
    """Worker seconds spent on Gram matrices."""
    eigenvalues_seconds: float
    """Worker seconds spent on their eigenvalues."""
    again_seconds: float
    """Worker seconds spent on doing it again in float64, if one matrix in ten needs that."""
    memory_bytes: int
    """The most that the process would take at a time."""
    read_bytes: int
    """The bytes that would be read."""
    streamed: bool
    """Whether they would come over the network."""
    kinds: tuple[KindForecast, ...]
    """What it would be spent on, the costliest kind first."""
    measured: str | None
    """The day on which the speed of this machine was measured, as YYYY-MM-DD; null where its device
    had no room for that, so that another machine's is assumed."""
    environment: Environment
    """What would compute it."""
    command: str
    """The command line, with tokens redacted and the home folder as `~`."""

    def to_rows(self) -> list[Row]:
        """One row for each kind, the costliest first; see `records.rows`."""
        return [
            {
                "kind": kind.kind,
                "matrices": kind.matrices,
                "largest": figures.extents(kind.largest),
                "seconds": kind.seconds,
            }
            for kind in self.kinds
        ]

    def _preview(self) -> Preview:
        def row(index: int) -> tuple[str, ...]:
            kind = self.kinds[index]
            largest, time = figures.extents(kind.largest), figures.seconds(kind.seconds)
            return kind.kind, largest, f"{kind.matrices:,}", time

        return Preview(
            title=f"Forecast of a scan of {self.model.source}: {figures.seconds(self.seconds)}, "
            f"{figures.size(self.memory_bytes)}",
            columns=("kind", "largest", "matrices", "worker time"),
            number=len(self.kinds),
            row=row,
            numeric=3,
        )
