"""What a heat map has a cell for: a matrix, or the experts of one block that share a kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from spectrum_ft.planning.candidates import group_units
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
    by_kind: dict[str, list[Unit]] = {}
    for (kind, layer, _), members in group_units(report.matrices).items():
        unit = Unit(kind=kind, layer=layer, matrices=tuple(members))
        by_kind.setdefault(kind, []).append(unit)
    return [unit for units in by_kind.values() for unit in units]


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
