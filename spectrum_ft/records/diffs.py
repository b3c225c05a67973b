"""What crosses the border of a diff: how two scans, or two models, differ.

A change is `(b - a) / max(|a|, |b|)`, the difference relative to the larger of both: +0.5 for what
doubled, -0.5 for what halved, and the same number with the other sign the other way round.
"""

from dataclasses import dataclass, fields
from typing import Literal

from spectrum_ft.errors import SpectrumError
from spectrum_ft.records import figures
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.rows import Preview, Row, Tabular, part
from spectrum_ft.records.scans import ModelInfo

DIFF_SCHEMA = "spectrum-ft/diff@1"

Content = Literal["same", "changed", "unknown"]
"""Whether a tensor's type, shape and bytes are the same by its digest; `unknown` without one."""


class DiffError(SpectrumError):
    """Two scans that have nothing to compare, or a comparison that makes no sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """A matrix that only one side scored."""

    name: str
    """The tensor's name in the checkpoint."""
    expert: int | None
    """The index of its expert; null for anything else."""
    reason: str
    """Why the other side did not: it is not there, or what the other scan says of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffSide:
    """One of the two that are compared."""

    model: ModelInfo
    """The model that was scanned."""
    given: str | None
    """What the user named, a file or a model; null where a scan was handed over in Python."""
    environment: Environment | None
    """What computed its spectra; null for imports."""
    matrices: int
    """How many matrices of the kinds asked for it scored."""
    unmatched: tuple[Unmatched, ...]
    """Those among them that the other side did not score, in natural order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What two selections share. What is selected is a unit: a matrix, or a block's experts."""

    taken_a: int
    """How many units are selected in A."""
    taken_b: int
    """How many units are selected in B."""
    shared: int
    """How many are selected in both."""
    jaccard: float
    """Shared units over those selected in either, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindDiff:
    """One kind, over the matrices that both sides scored."""

    kind: str
    """The kind, as it is planned: see `unit_kinds`."""
    matrices: int
    """How many matrices of it both sides scored."""
    changed: int
    """How many of them have other content."""
    unknown: int
    """How many of them have a digest on one side at most, so that nothing is known of content."""
    units: int
    """How many units of it both sides rank."""
    correlation: float | None
    """Spearman's rank correlation of the score over those units, ties averaged, in [-1, 1]."""
    no_correlation: str | None
    """Why `correlation` is null."""
    overlap: Overlap | None
    """What the selections from this kind share, each made of all that its side scored."""
    no_overlap: str | None
    """Why `overlap` is null."""
    median_a: float | None
    """The median of the finite scores in A of the matrices that both scored; null without any."""
    median_b: float | None
    """The same in B."""
    median_change: float | None
    """The change of the median; null where either is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumChange:
    """How the singular values of a matrix changed, from their summaries: changes in [-2, 2]."""

    max: float
    """Of the largest singular value."""
    q25: float
    """Of the first quartile."""
    median: float
    """Of the median."""
    q75: float
    """Of the third quartile."""
    sum: float
    """Of the sum."""
    largest: float
    """The one among these that is furthest from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixDiff:
    """One matrix that differs: in its content, its score, or in whether it is selected."""

    name: str
    """The tensor's name in the checkpoint."""
    kind: str
    """Its role in a block, in A."""
    layer: int | None
    """The index of its block, from 0; null outside the blocks."""
    expert: int | None
    """The index of its expert within the block, from 0; null for anything else."""
    content: Content
    """Whether its type, shape and bytes changed."""
    reshaped: bool
    """Whether its shape is known on both sides, and another."""
    retyped: bool
    """Whether its type is known on both sides, and another."""
    score_a: float | None
    """The score in A; null where it does not exist."""
    score_b: float | None
    """The score in B."""
    score_change: float | None
    """The change of the score, in [-2, 2]."""
    no_change: str | None
    """Why `score_change` is null."""
    spectrum: SpectrumChange | None
    """How its singular values changed; null where a side has no summary of them."""
    distance: float | None
    """||S_A - S_B|| / max(||S_A||, ||S_B||) of all singular values, at least 0 and below 1.42; null
    where they are not at hand or not equally many. The weights moved at least as far (Mirsky
    1960)."""
    rank_a: int | None
    """The place in A of its unit within the kind, from 1, best first; null where A ranks it not."""
    rank_b: int | None
    """The same in B."""
    selected_a: bool
    """Whether its unit is selected in A."""
    selected_b: bool
    """The same in B."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ScanDiff(Tabular):
    """How two scans differ, over the matrices that have the same name in both."""

    schema: str = DIFF_SCHEMA
    """Name and version of this layout."""
    a: DiffSide
    """The first, from which changes are counted."""
    b: DiffSide
    """The second."""
    score: str
    """The score that ranks."""
    share: float
    """The share of each kind that a selection takes, in (0, 1]."""
    asked_kinds: tuple[str, ...]
    """Globs that the kinds had to match; empty for all."""
    same_fingerprint: bool | None
    """Whether all tensors have the same names and shapes; null where a side's are unknown."""
    matched: int
    """How many matrices both sides scored."""
    identical: int
    """How many of them have the same content."""
    changed: int
    """How many of them have other content."""
    unknown: int
    """How many of them have a digest on one side at most."""
    reshaped: int
    """How many of them have another shape."""
    retyped: int
    """How many of them are stored in another type, which changes their content whatever it says."""
    overlap: Overlap | None
    """What the selections share over all kinds; null where no kind has an overlap."""
    kinds: tuple[KindDiff, ...]
    """Each kind that both have, in natural order of the first names."""
    matrices: tuple[MatrixDiff, ...]
    """Every matrix that differs, the largest change of the score first, then of the spectrum."""
    environment: Environment
    """What made this record."""
    command: str
    """The command line, with tokens redacted and the home folder as `~`."""

    def to_rows(self) -> list[Row]:
        """One row for each matrix that differs, in the record's order; see `records.rows`."""
        names = [f.name for f in fields(MatrixDiff) if f.name != "spectrum"]
        return [
            {
                **{name: getattr(matrix, name) for name in names},
                **part("spectrum", matrix.spectrum, SpectrumChange),
            }
            for matrix in self.matrices
        ]

    def kind_rows(self) -> list[Row]:
        """One row for each kind; see `records.rows`."""
        names = [f.name for f in fields(KindDiff) if f.name != "overlap"]
        return [
            {
                **{name: getattr(kind, name) for name in names},
                **part("overlap", kind.overlap, Overlap),
            }
            for kind in self.kinds
        ]

    def _preview(self) -> Preview:
        def row(index: int) -> tuple[str, ...]:
            matrix = self.matrices[index]
            return (
                matrix.name,
                figures.place(matrix.layer, matrix.expert),
                matrix.content,
                figures.score(matrix.score_a),
                figures.score(matrix.score_b),
                figures.change(matrix.score_change),
            )

        return Preview(
            title=f"Difference of {self.a.model.source} and {self.b.model.source}: "
            f"{self.changed:,} of {self.matched:,} matrices changed",
            columns=("matrix", "layer", "content", f"{self.score} in A", "in B", "change"),
            number=len(self.matrices),
            row=row,
            numeric=3,
        )
