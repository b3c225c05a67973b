"""What a heat map has a cell for: a matrix, or the experts of one block that share a kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from spectrum_ft.planning.candidates import unit_kinds
from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft_reports.parts import numbers


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
    """The values, means where a unit holds many matrices."""


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
    values = [_mean(unit, score) for unit in units]
    spans: dict[str, tuple[float, float]] = {}
    for unit, value in zip(units, values, strict=True):
        if value is not None:
            low, high = spans.get(unit.kind, (value, value))
            spans[unit.kind] = min(low, value), max(high, value)
    return Shade(
        score=score,
        heights=tuple(
            _height(unit, score, value, spans) for unit, value in zip(units, values, strict=True)
        ),
        texts=tuple(map(numbers.score, values)),
    )


def _mean(unit: Unit, score: str) -> float | None:
    """The mean over the finite values of the unit's matrices."""
    values = [v for m in unit.matrices if (v := m.scores.get(score)) is not None]
    return fmean(values) if values else None


def _height(
    unit: Unit, score: str, value: float | None, spans: dict[str, tuple[float, float]]
) -> int | None:
    if value is None:
        unbounded = score in unit.matrices[0].scores and "unresolved" not in unit.matrices[0].flags
        return 100 if unbounded else None
    low, high = spans[unit.kind]
    return round(100.0 * (value - low) / (high - low)) if high > low else 50
