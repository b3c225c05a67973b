"""What is said of one matrix, the same wherever it is said."""

from collections.abc import Sequence
from os.path import commonprefix

from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft.spectra.scores import SCORES
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.untrusted import printable

_MOST_SCORES = 12  # a record may have been edited


def shape_text(matrix: ScannedMatrix) -> str:
    """Rows and columns: `576 x 1536`."""
    return " x ".join(map(str, matrix.extents)) or "-"


def dtype_text(matrix: ScannedMatrix) -> str:
    """How it is stored."""
    return printable(matrix.dtype or "-", 20)


def signal_text(matrix: ScannedMatrix) -> str:
    """Singular values above the edge, of how many: `502/576`."""
    return "-" if matrix.spectrum is None else f"{matrix.signal_rank}/{matrix.spectrum.count}"


def layer_text(matrix: ScannedMatrix) -> str:
    """Its block, and its expert if it is one: `3`, `3:17`."""
    if matrix.layer is None:
        return "-"
    return str(matrix.layer) if matrix.expert is None else f"{matrix.layer}:{matrix.expert}"


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
    before = commonprefix(names)
    before = before[: before.rfind(".") + 1] if len(set(names)) > 1 else ""
    rests = [name[len(before) :][::-1] for name in names]
    after = commonprefix(rests)
    after = after[: after.rfind(".") + 1][::-1] if len(set(names)) > 1 else ""
    return before, after, [name[len(before) : len(name) - len(after)] for name in names]


def scores_of(report: ScanReport) -> tuple[str, ...]:
    """The scores that `report` has, its own first."""
    present = {score for matrix in report.matrices for score in matrix.scores}
    order = dict.fromkeys((report.score, *SCORES, *sorted(present)))
    return tuple(score for score in order if score in present)[:_MOST_SCORES]


def matrix_facts(matrix: ScannedMatrix, scores: Sequence[str]) -> tuple[Fact, ...]:
    """All that is known of a matrix and its spectrum, always with the same labels."""
    spectrum = matrix.spectrum
    return (
        Fact("shape", shape_text(matrix)),
        Fact("stored as", dtype_text(matrix)),
        *(Fact(printable(s, 40), numbers.score(matrix.scores.get(s))) for s in scores),
        Fact("above the edge", signal_text(matrix)),
        Fact("edge", numbers.score(matrix.edge)),
        Fact("median", numbers.score(spectrum.median if spectrum else None)),
        Fact("max", numbers.score(spectrum.max if spectrum else None)),
        Fact("flags", flags_text(matrix) or "none"),
    )
