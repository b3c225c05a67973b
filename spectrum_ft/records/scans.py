"""What a scan finds: every matrix with its scores, every other tensor with a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spectrum_ft.records import figures
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.rows import Preview, Row, Tabular, part

SCAN_SCHEMA = "spectrum-ft/scan@1"
Flag = Literal["saturated", "thin", "unresolved", "vector", "escalated", "fallback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Which model a record is about."""

    source: str
    """What was scanned, as the user named it; the home folder appears as `~`."""
    revision: str | None
    """The Hub commit that was read, or null for local files."""
    fingerprint: str | None
    """SHA-256 over the sorted (name, shape) pairs; null where shapes are unknown (imports)."""
    parameters: int | None
    """The number of weights that the checkpoint stores; null where shapes are unknown."""
    layers: int
    """The number of blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumSummary:
    """The singular values of a matrix in a few numbers, in the unit of its weights."""

    max: float
    """The largest singular value."""
    min: float
    """The smallest."""
    q25: float
    """The first quartile, linearly interpolated."""
    median: float
    """The median."""
    q75: float
    """The third quartile."""
    sum: float
    """The sum of all of them."""
    count: int
    """How many there are: the smaller extent."""
    error: float
    """How far the least certain of them may be from the truth."""
    histogram: tuple[int, ...]
    """64 counts over (max / 10^4, max] in equal steps of the logarithm, smallest values first;
    values below that range count in the first bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedMatrix:
    """One scored matrix."""

    name: str
    """The tensor's name in the checkpoint."""
    kind: str
    """Its role in a block, e.g. `self_attn.q_proj`."""
    layer: int | None
    """The index of its block, from 0; null outside the blocks."""
    expert: int | None
    """The index of its expert within the block, from 0; null for anything else."""
    shape: tuple[int, ...]
    """The tensor's extents: rows and columns; experts, rows and columns where this matrix is one
    slice of a tensor that holds several, and `expert` says which; empty where unknown (imports)."""
    dtype: str | None
    """How the checkpoint stores it, e.g. `bfloat16` or `Q4_1`; null where unknown."""
    scores: dict[str, float | None]
    """Each score by name; null where it does not exist (see `flags`) or was not computed."""
    spectrum: SpectrumSummary | None
    """Its singular values, summed up; null for imports."""
    edge: float | None
    """The noise edge of `snr`, in the unit of the weights; null for imports."""
    signal_rank: int | None
    """How many singular values lie above `edge`; null for imports."""
    digest: str | None
    """SHA-256 of its type, shape and bytes; null for imports."""
    flags: tuple[Flag, ...] = ()
    """`saturated`: the edge leaves no noise; `thin`: too small or too low in rank to rank;
    `unresolved`: `condition` is less certain than 1 %, so it is null; `escalated`: float32 was not
    accurate enough and a costlier method was used; `fallback`: the GPU had no room for it and
    the CPU did it; `vector`: a vector that an import ranked."""

    @property
    def extents(self) -> tuple[int, ...]:
        """Rows and columns of this matrix alone."""
        return self.shape[-2:]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedTensor:
    """One tensor without a score, and why."""

    name: str
    """The tensor's name in the checkpoint."""
    shape: tuple[int, ...]
    """Its extents as stored."""
    reason: str
    """Why it has no score."""
    expert: int | None = None
    """The slice that has none, where others of the same tensor may have one; null for all of it."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ScanReport(Tabular):
    """What a scan found: every matrix with its scores, everything else with a reason."""

    schema: str = SCAN_SCHEMA
    """Name and version of this layout."""
    model: ModelInfo
    """The model that was scanned."""
    score: str
    """The score that the scan made sure of, and that reports show."""
    matrices: tuple[ScannedMatrix, ...]
    """The scored matrices, in natural order of their names, slices of one tensor in theirs."""
    skipped: tuple[SkippedTensor, ...]
    """Every other tensor, in the same order."""
    environment: Environment | None
    """What computed it; null for imports."""
    seconds: float
    """Wall-clock seconds that the scan took; 0 for imports."""
    command: str
    """The command line, with tokens redacted and the home folder as `~`."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, scored or not, by name."""
        return {m.name: m.shape for m in self.matrices} | {t.name: t.shape for t in self.skipped}

    def to_rows(self) -> list[Row]:
        """One row for each scored matrix, in the record's order; see `records.rows`."""
        names = list(dict.fromkeys(name for matrix in self.matrices for name in matrix.scores))
        return [_row(matrix, names) for matrix in self.matrices]

    def _preview(self) -> Preview:
        def row(index: int) -> tuple[str, ...]:
            matrix = self.matrices[index]
            summary = matrix.spectrum
            return (
                matrix.name,
                figures.place(matrix.layer, matrix.expert),
                " ".join(matrix.flags),
                figures.extents(matrix.extents),
                figures.score(matrix.scores.get(self.score)),
                figures.NONE if summary is None else f"{matrix.signal_rank}/{summary.count}",
            )

        return Preview(
            title=f"Scan of {self.model.source}: {len(self.matrices):,} scored, "
            f"{len(self.skipped):,} skipped",
            columns=("matrix", "layer", "flags", "shape", self.score, "signal"),
            number=len(self.matrices),
            row=row,
            numeric=3,
        )


def _row(matrix: ScannedMatrix, scores: Sequence[str]) -> Row:
    rows, columns = matrix.extents if len(matrix.extents) == 2 else (None, None)
    return {
        "name": matrix.name,
        "kind": matrix.kind,
        "layer": matrix.layer,
        "expert": matrix.expert,
        "rows": rows,
        "columns": columns,
        "dtype": matrix.dtype,
        **{f"scores.{name}": matrix.scores.get(name) for name in scores},
        **part("spectrum", matrix.spectrum, SpectrumSummary, leave_out=("histogram",)),
        "edge": matrix.edge,
        "signal_rank": matrix.signal_rank,
        "digest": matrix.digest,
        "flags": " ".join(matrix.flags),
    }
