"""What a heat map has a cell for: a matrix, or the experts of one block that share a kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from spectrum_ft.planning.candidates import unit_kinds
from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft.summaries import joint_score
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.sparklines import height
from spectrum_ft_reports.parts.untrusted import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What trains together or not at all, whether or not a share ever takes it."""

    kind: str
    """Its kind, as it is planned."""
    layer: int | None
    """Its block; None outside the blocks."""
    matrices: tuple[ScannedMatrix, ...]
    """Its matrices: one, or the experts'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """How one score colours the units, which are in the order of `units_of`."""

    score: str
    """The score."""
    heights: tuple[int | None, ...]
    """From 0, the lowest of the kind, to 100, the highest; None without a value."""
    texts: tuple[str, ...]
    """The values, means where a unit holds many matrices; `-` for one that is not finite."""


def units_of(report: ScanReport) -> list[Unit]:
    """The units of `report`, kind by kind, in the order of the checkpoint."""
    kinds = unit_kinds(report.matrices)
    groups: dict[str, dict[tuple[int | None, str | None], list[ScannedMatrix]]] = {}
    for matrix in report.matrices:
        alone = matrix.name if matrix.expert is None else None
        units = groups.setdefault(kinds[matrix.kind], {})
        units.setdefault((matrix.layer, alone), []).append(matrix)
    return [
        Unit(kind=kind, layer=layer, matrices=tuple(members))
        for kind, units in groups.items()
        for (layer, _), members in units.items()
    ]


def shade(units: Sequence[Unit], score: str) -> Shade:
    """The units by `score`: scores of different kinds are not comparable, so each kind for itself.

    An unbounded score is as dark as the highest one.
    """
    values = [joint_score(unit.matrices, score) for unit in units]
    spans: dict[str, tuple[float, float]] = {}
    for unit, value in zip(units, values, strict=True):
        if value is not None and isfinite(value):
            low, high = spans.get(unit.kind, (value, value))
            spans[unit.kind] = min(low, value), max(high, value)
    return Shade(
        score=printable(score, 40),
        heights=tuple(
            _height(value, spans.get(unit.kind)) for unit, value in zip(units, values, strict=True)
        ),
        texts=tuple(
            numbers.score(value if value is not None and isfinite(value) else None)
            for value in values
        ),
    )


def _height(value: float | None, span: tuple[float, float] | None) -> int | None:
    if value is None:
        return None
    if span is None or not isfinite(value):
        return 100
    return round(100 * height(value, *span))
