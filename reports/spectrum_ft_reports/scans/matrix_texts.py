"""What is said of one matrix, the same wherever it is said."""

from collections.abc import Sequence
from itertools import takewhile

from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft.spectra.scores import SCORES
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable

_MOST_SCORES = 12  # a record may have been edited


def shape_text(matrix: ScannedMatrix) -> str:
    """Rows and columns: `576 x 1536`."""
    return numbers.extents(matrix.extents)


def dtype_text(matrix: ScannedMatrix) -> str:
    """How it is stored."""
    return printable(matrix.dtype or "-", 20)


def signal_text(matrix: ScannedMatrix) -> str:
    """Singular values above the edge, of how many: `502/576`."""
    return "-" if matrix.spectrum is None else f"{matrix.signal_rank}/{matrix.spectrum.count}"


def layer_text(matrix: ScannedMatrix) -> str:
    """Its block, and its expert if it is one: `3`, `3:17`."""
    return numbers.place(matrix.layer, matrix.expert)


def flags_text(matrix: ScannedMatrix) -> str:
    """What to know about its score."""
    return " ".join(matrix.flags)


def full_name(matrix: ScannedMatrix) -> str:
    """The tensor's name, and which expert it is where the tensor holds many."""
    return printable(matrix.name) + (f"[{matrix.expert}]" if len(matrix.shape) > 2 else "")


def shared_name(names: Sequence[str]) -> tuple[str, str, list[str]]:
    """What all `names` begin with, what they end with, and what is left of each in between.

    Cut at dots, so that what is left can be read: `model.layers.3.mlp.experts.`, `.weight`,
    `["17.w1", ...]`.
    """
    parts = [name.split(".") for name in names]
    shortest = min(map(len, parts))
    head = _count_shared(parts, shortest - 1)
    tail = _count_shared([part[::-1] for part in parts], shortest - 1 - head)
    before = "".join(f"{part}." for part in parts[0][:head])
    after = "".join(f".{part}" for part in parts[0][len(parts[0]) - tail :])
    return before, after, [".".join(part[head : len(part) - tail]) for part in parts]


def _count_shared(parts: Sequence[Sequence[str]], most: int) -> int:
    """How many of the first `most` parts are the same in all."""
    columns = list(zip(*parts, strict=False))[:most]
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def scores_of(report: ScanReport) -> tuple[str, ...]:
    """The scores that `report` has, its own first."""
    present = {score for matrix in report.matrices for score in matrix.scores}
    order = dict.fromkeys((report.score, *SCORES, *sorted(present)))
    return tuple(score for score in order if score in present)[:_MOST_SCORES]


def fact_labels(scores: Sequence[str]) -> tuple[str, ...]:
    """What `fact_texts` are about, in their order."""
    before, after = ("shape", "stored as"), ("above the edge", "edge", "median", "max", "flags")
    return (*before, *(printable(score, 40) for score in scores), *after)


def fact_texts(matrix: ScannedMatrix, scores: Sequence[str]) -> list[str]:
    """All that is known of a matrix and its spectrum."""
    spectrum = matrix.spectrum
    return [
        shape_text(matrix),
        dtype_text(matrix),
        *[numbers.score(matrix.scores.get(score)) for score in scores],
        signal_text(matrix),
        numbers.score(matrix.edge),
        numbers.score(spectrum.median if spectrum else None),
        numbers.score(spectrum.max if spectrum else None),
        flags_text(matrix) or "none",
    ]
