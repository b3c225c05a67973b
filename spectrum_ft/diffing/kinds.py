"""The diff of one kind: do both sides rank its matrices alike, and would they select the same?"""

from collections.abc import Sequence

from spectrum_ft.diffing.changes import change, median, rank_correlation
from spectrum_ft.diffing.pairs import Pair
from spectrum_ft.diffing.ranking import RankedUnit, Ranking
from spectrum_ft.planning.policies import SMALLEST_KIND
from spectrum_ft.records.diffs import KindDiff, Overlap

FEWEST_TO_CORRELATE = 3
"""Of two units the rank correlation is always 1 or -1, whatever the scores are worth."""


def diff_kind(kind: str, pairs: Sequence[Pair], a: Ranking, b: Ranking, score: str) -> KindDiff:
    """The diff of the kind that A plans as `kind`, of which `pairs` are what both sides scored."""
    contents = [pair.content for pair in pairs]
    units_a = a.units.get(kind, ())
    # Another set of names may have given what is the same here another kind there.
    kinds_b = dict.fromkeys(b.planned_kinds[pair.b.kind] for pair in pairs)
    units_b = [unit for other in kinds_b for unit in b.units.get(other, ())]
    both = [(unit, found) for unit in units_a if (found := b.counterpart(unit)) is not None]
    correlation = rank_correlation(
        [unit.candidate.value for unit, _ in both], [unit.candidate.value for _, unit in both]
    )
    no_correlation = _why_no_correlation(len(both), correlation)
    overlap = _overlap(units_a, units_b, both)
    medians = [
        median([value for m in side if (value := m.scores.get(score)) is not None])
        for side in ([pair.a for pair in pairs], [pair.b for pair in pairs])
    ]
    return KindDiff(
        kind=kind,
        matrices=len(pairs),
        changed=contents.count("changed"),
        unknown=contents.count("unknown"),
        units=len(both),
        correlation=None if no_correlation else correlation,
        no_correlation=no_correlation,
        overlap=overlap,
        no_overlap=None if overlap else _why_no_overlap(max(len(units_a), len(units_b))),
        median_a=medians[0],
        median_b=medians[1],
        median_change=(
            None if medians[0] is None or medians[1] is None else change(medians[0], medians[1])
        ),
    )


def _why_no_correlation(units: int, correlation: float | None) -> str | None:
    if units == 0:
        return "none of it is ranked on both sides"
    if units < FEWEST_TO_CORRELATE:
        return f"fewer than {FEWEST_TO_CORRELATE} are ranked on both sides"
    return "all scores of a side are equal" if correlation is None else None


def _why_no_overlap(units: int) -> str:
    if units == 0:
        return "none of it is ranked"
    return f"fewer than {SMALLEST_KIND} are ranked, and no share is taken of so few"


def _overlap(
    units_a: Sequence[RankedUnit],
    units_b: Sequence[RankedUnit],
    both: Sequence[tuple[RankedUnit, RankedUnit]],
) -> Overlap | None:
    taken_a, taken_b = (sum(unit.selected for unit in units) for units in (units_a, units_b))
    shared = sum(one.selected and other.selected for one, other in both)
    return _made_of(taken_a, taken_b, shared) if taken_a or taken_b else None


def total_overlap(kinds: Sequence[KindDiff]) -> Overlap | None:
    """What the selections share over all kinds; None where no kind has an overlap."""
    found = [kind.overlap for kind in kinds if kind.overlap is not None]
    if not found:
        return None
    return _made_of(
        sum(overlap.taken_a for overlap in found),
        sum(overlap.taken_b for overlap in found),
        sum(overlap.shared for overlap in found),
    )


def _made_of(taken_a: int, taken_b: int, shared: int) -> Overlap:
    jaccard = shared / (taken_a + taken_b - shared)
    return Overlap(taken_a=taken_a, taken_b=taken_b, shared=shared, jaccard=jaccard)
