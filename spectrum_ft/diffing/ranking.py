"""One side of a diff: its matrices of the kinds asked for, ranked and selected as plans do it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spectrum_ft.checkpoints.naming import natural_key, place_tensors
from spectrum_ft.errors import PlanError
from spectrum_ft.globs import check_globs, matches
from spectrum_ft.planning.candidates import (
    Candidate,
    block_matrices,
    ranked_candidates,
    unit_kinds,
)
from spectrum_ft.planning.policies import SMALLEST_KIND, by_score, take_of_each_kind
from spectrum_ft.records.scans import ScannedMatrix, ScanReport

Key = tuple[str, int | None]
"""What tells matrices apart: the tensor's name, and the expert where one tensor holds several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedUnit:
    """A unit of choice, and where it stands."""

    candidate: Candidate
    """The unit: a matrix, or the experts of one block that share a kind."""
    rank: int
    """Its place within its kind, from 1, best first."""
    selected: bool
    """Whether the share takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The matrices of one side."""

    report: ScanReport
    """The scan that they come from."""
    matrices: dict[Key, ScannedMatrix]
    """Those of the kinds asked for, in natural order."""
    planned_kinds: dict[str, str]
    """The kind under which each kind is planned: see `unit_kinds`."""
    units: dict[str, tuple[RankedUnit, ...]]
    """What a plan may choose from, by planned kind and best first."""
    unit_of: dict[str, RankedUnit]
    """The unit that each tensor belongs to, by the tensor's name."""

    def counterpart(self, unit: RankedUnit) -> RankedUnit | None:
        """The unit of this side that holds a tensor of `unit`, a unit of the other; or None."""
        found = (self.unit_of.get(name) for name in unit.candidate.names)
        return next((one for one in found if one is not None), None)


def rank_side(
    side: str, report: ScanReport, *, score: str, share: float, kinds: Sequence[str]
) -> Ranking:
    """The matrices of `report` in natural order, ranked by `score`, the best `share` selected.

    Units and selections are those of the default plan of the whole scan; of it all, `kinds` only
    say what is looked at. Ties keep the natural order of the names, as in every scan of ours.
    Raises `PlanError`, naming `side` and the model, for a glob that matches nothing and a score
    that is missing.
    """
    matrices = tuple(sorted(report.matrices, key=_natural_place))
    planned = unit_kinds(matrices)
    try:
        check_globs(kinds, {*planned, *planned.values()}, "kind")
        wanted = [m for m in matrices if not kinds or matches(kinds, m.kind, planned[m.kind])]
        # Whole units, even where only one kind of a pair was asked for: they are scored together.
        ranked_kinds = {planned[matrix.kind] for matrix in wanted}
        of_plans = block_matrices(replace(report, matrices=matrices), place_tensors(report.shapes))
        units = _ranked([m for m in of_plans if planned[m.kind] in ranked_kinds], score, share)
    except PlanError as fault:
        source = ascii(report.model.source)[1:-1]
        raise PlanError(f"{side} ({source[-120:]}): {fault.message}", fault.hint) from None
    return Ranking(
        report=report,
        matrices={(matrix.name, matrix.expert): matrix for matrix in wanted},
        planned_kinds=planned,
        units=units,
        unit_of={
            name: unit
            for members in units.values()
            for unit in members
            for name in unit.candidate.names
        },
    )


def _natural_place(matrix: ScannedMatrix) -> tuple[tuple[tuple[int, str], ...], int]:
    return natural_key(matrix.name), -1 if matrix.expert is None else matrix.expert


def _ranked(
    matrices: Sequence[ScannedMatrix], score: str, share: float
) -> dict[str, tuple[RankedUnit, ...]]:
    groups = ranked_candidates(matrices, score=score)
    large = {kind: group for kind, group in groups.items() if len(group) >= SMALLEST_KIND}
    choices = take_of_each_kind(large, by_score, share, 0) if large else []
    taken = {choice.kind: choice.taken for choice in choices}
    return {
        kind: tuple(
            RankedUnit(candidate=candidate, rank=place + 1, selected=place < taken.get(kind, 0))
            for place, candidate in enumerate(group)
        )
        for kind, group in groups.items()
    }
