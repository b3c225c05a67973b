"""A scan in a few numbers: what a report shows of each kind, and what a plan leaves undone."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.planning.candidates import unit_kinds
from spectrum_ft.planning.policies import KindChoice
from spectrum_ft.records.scans import ScannedMatrix, ScanReport


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSummary:
    """One kind of a scan, and what a plan took of it."""

    kind: str
    """The kind, as it is planned: see `unit_kinds`."""
    by_layer: Mapping[int, float | None]
    """The score at each layer, mean over the finite ones of its experts, None without any; empty
    for a kind outside the blocks."""
    median: float | None
    """The median over its finite scores; None if there are none."""
    num_params: int
    """The number of weights in all of its matrices; 0 where shapes are unknown."""
    trained_layers: frozenset[int]
    """The layers of which something trains."""
    taken: int
    """How many of its units train: matrices, or the experts of a block."""
    units: int
    """How many units there are."""
    margin: float | None
    """How far the last one taken is ahead of the first one left, see `KindChoice.margin`."""


def summarize_kinds(
    report: ScanReport, score: str, choices: Sequence[KindChoice] = ()
) -> list[KindSummary]:
    """Each kind of `report`, in the order of the checkpoint, with what `choices` took of it."""
    kinds = unit_kinds(report.matrices)
    members: dict[str, list[ScannedMatrix]] = defaultdict(list)
    for matrix in report.matrices:
        members[kinds[matrix.kind]].append(matrix)
    chosen = {choice.kind: choice for choice in choices}
    return [_summary(kind, group, score, chosen.get(kind)) for kind, group in members.items()]


def _summary(
    kind: str, members: Sequence[ScannedMatrix], score: str, choice: KindChoice | None
) -> KindSummary:
    by_layer: dict[int, list[float | None]] = defaultdict(list)
    for matrix in members:
        if matrix.layer is not None:
            by_layer[matrix.layer].append(matrix.scores.get(score))
    finite = [value for m in members if (value := m.scores.get(score)) is not None]
    layers = {unit.layer for unit in choice.chosen} if choice else set()
    return KindSummary(
        kind=kind,
        by_layer={layer: _mean(values) for layer, values in sorted(by_layer.items())},
        median=statistics.median(finite) if finite else None,
        num_params=sum(math.prod(m.extents) for m in members if m.shape),
        trained_layers=frozenset(layer for layer in layers if layer is not None),
        taken=choice.taken if choice else 0,
        units=len(choice.order) if choice else _count_units(members),
        margin=choice.margin if choice else None,
    )


def _count_units(members: Sequence[ScannedMatrix]) -> int:
    return len({(m.layer, m.name if m.expert is None else None) for m in members})


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return statistics.fmean(finite) if finite else None


def skip_reasons(report: ScanReport) -> Counter[str]:
    """How many tensors were not scored, by reason."""
    return Counter(tensor.reason for tensor in report.skipped)
