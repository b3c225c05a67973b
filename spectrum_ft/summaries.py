"""A scan in a few numbers: what a report shows of each kind, and what a plan leaves undone."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.errors import PlanError
from spectrum_ft.planning.candidates import joint_candidate, unit_kinds
from spectrum_ft.planning.policies import KindChoice
from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft.spectra.scores import SCORES


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSummary:
    """One kind of a scan, and what a plan took of it."""

    kind: str
    """The kind, as it is planned: see `unit_kinds`."""
    by_layer: Mapping[int, float | None]
    """The score at each layer, see `joint_score`; empty for a kind outside the blocks."""
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
    by_layer: dict[int, list[ScannedMatrix]] = defaultdict(list)
    for matrix in members:
        if matrix.layer is not None:
            by_layer[matrix.layer].append(matrix)
    finite = [value for m in members if (value := m.scores.get(score)) is not None]
    layers = {unit.layer for unit in choice.chosen} if choice else set()
    return KindSummary(
        kind=kind,
        by_layer={layer: joint_score(found, score) for layer, found in sorted(by_layer.items())},
        median=_median(finite) if finite else None,
        num_params=sum(math.prod(m.extents) for m in members if m.shape),
        trained_layers=frozenset(layer for layer in layers if layer is not None),
        taken=choice.taken if choice else 0,
        units=len(choice.order) if choice else _count_units(members),
        margin=choice.margin if choice else None,
    )


def _count_units(members: Sequence[ScannedMatrix]) -> int:
    return len({(m.layer, m.name if m.expert is None else None) for m in members})


def joint_score(members: Sequence[ScannedMatrix], score: str) -> float | None:
    """The score that ranks `members` as one: their mean, infinite if that of one is unbounded.

    None if one of them has none. By a score that no plan ranks by, the mean over those that have
    it.
    """
    if score in SCORES:
        try:
            return joint_candidate(members, members[0].kind, score).value
        except PlanError:  # a matrix lacks it
            return None
    found = [value for member in members if (value := member.scores.get(score)) is not None]
    return sum(value / len(found) for value in found) if found else None


def _median(values: Sequence[float]) -> float:
    low, high = statistics.median_low(values), statistics.median_high(values)
    return low if low == high else low / 2 + high / 2  # the sum may be too large for a float


def skip_reasons(report: ScanReport) -> Counter[str]:
    """How many tensors were not scored, by reason."""
    return Counter(tensor.reason for tensor in report.skipped)
