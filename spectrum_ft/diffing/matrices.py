"""The matrices that differ, those that changed most first."""

import math
from collections.abc import Callable, Sequence

from spectrum_ft.diffing.changes import change, distance, spectrum_change
from spectrum_ft.diffing.pairs import Pair
from spectrum_ft.diffing.ranking import Ranking
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.candidates import score_value
from spectrum_ft.records.diffs import MatrixDiff
from spectrum_ft.records.scans import ScannedMatrix
from spectrum_ft.spectra.solvers import Values

SpectrumOf = Callable[[str], Values | None]
"""The singular values of the content with this digest, descending; None if not at hand."""


def diff_matrices(
    pairs: Sequence[Pair],
    a: Ranking,
    b: Ranking,
    *,
    score: str,
    spectrum_of: SpectrumOf | None,
) -> list[MatrixDiff]:
    """Every pair that differs in content, score or selection, in the order of a `ScanDiff`."""
    found = [_diffed(pair, a, b, score, spectrum_of) for pair in pairs]
    differing = [m for m in found if _differs(m)]
    return sorted(differing, key=_least_changed_last)


def _differs(matrix: MatrixDiff) -> bool:
    other_score = matrix.score_a != matrix.score_b
    return matrix.content == "changed" or other_score or matrix.selected_a != matrix.selected_b


def _least_changed_last(matrix: MatrixDiff) -> tuple[float, float]:
    spectrum = matrix.spectrum.largest if matrix.spectrum else 0.0
    return -_moved(matrix), -abs(spectrum)


def _moved(matrix: MatrixDiff) -> float:
    """How far the score moved: 1 to or from unbounded, which is what the change tends to."""
    if matrix.score_change is not None:
        return abs(matrix.score_change)
    return float((matrix.score_a is None) != (matrix.score_b is None))


def _diffed(
    pair: Pair, a: Ranking, b: Ranking, score: str, spectrum_of: SpectrumOf | None
) -> MatrixDiff:
    name = pair.a.name
    unit_a, unit_b = a.unit_of.get(name), b.unit_of.get(name)
    score_a, score_b = pair.a.scores.get(score), pair.b.scores.get(score)
    moved = None if score_a is None or score_b is None else change(score_a, score_b)
    return MatrixDiff(
        name=name,
        kind=pair.a.kind,
        layer=pair.a.layer,
        expert=pair.a.expert,
        content=pair.content,
        reshaped=pair.reshaped,
        retyped=pair.retyped,
        score_a=score_a,
        score_b=score_b,
        score_change=moved,
        no_change=_why_no_change(pair, score) if moved is None else None,
        spectrum=spectrum_change(pair.a.spectrum, pair.b.spectrum),
        distance=_distance(pair, spectrum_of),
        rank_a=unit_a.rank if unit_a else None,
        rank_b=unit_b.rank if unit_b else None,
        selected_a=unit_a is not None and unit_a.selected,
        selected_b=unit_b is not None and unit_b.selected,
    )


def _why_no_change(pair: Pair, score: str) -> str:
    """What is wrong with the score, and on which side: `unbounded in A`, `unknown in both`."""
    faults = [_fault(matrix, score) for matrix in (pair.a, pair.b)]
    if faults[0] == faults[1]:
        return f"{faults[0]} in both"
    sides = zip(faults, "AB", strict=True)
    return ", ".join(f"{fault} in {side}" for fault, side in sides if fault)


def _fault(matrix: ScannedMatrix, score: str) -> str:
    try:
        return "unbounded" if math.isinf(score_value(matrix, score)) else ""
    except PlanError:
        return "unknown"


def _distance(pair: Pair, spectrum_of: SpectrumOf | None) -> float | None:
    if pair.content == "same":
        return 0.0
    if spectrum_of is None or pair.a.digest is None or pair.b.digest is None:
        return None
    return distance(spectrum_of(pair.a.digest), spectrum_of(pair.b.digest))
