"""What every share would train: for each unit of choice, the smallest share that takes it.

What a share takes, every larger one takes as well: `round half up(share x n)` of one fixed order.
So one whole percentage per unit says all that a hundred plans would. How many that is depends on
nothing but the number of units in a kind, and their order does not depend on the share.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.naming import place_tensors
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.candidates import block_matrices, filtered, score_value
from spectrum_ft.planning.policies import KindChoice
from spectrum_ft.planning.presets import PRESETS, Ranking, Take
from spectrum_ft.planning.requests import PlanRequest
from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft.spectra.scores import SCORES

PERCENTAGES = range(1, 101)
"""The shares that are explored, in per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExploredUnit:
    """One unit of choice, and when it is taken."""

    names: tuple[str, ...]
    """The tensors that train together, see `Candidate`."""
    kind: str
    """The kind within which it is ranked."""
    layer: int | None
    """Its block."""
    rank: int
    """Its place in the kind, 1 for the one that is taken first."""
    percent: int
    """The smallest whole percentage at which it trains, in 1..100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExploredShare:
    """What one share trains in all."""

    percent: int
    """The share, in per cent."""
    units: int
    """How many units train."""
    tensors: int
    """How many tensors those are."""
    weights: int | None
    """How many weights; None where shapes are unknown (imports)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What every whole percentage would train, ranked by one score."""

    score: str
    """The score that ranks."""
    units: tuple[ExploredUnit, ...]
    """Every unit of choice, best first within its kind. What no share takes is none: what is thin,
    a vector, outside the blocks, or of a kind too small to take a share of."""
    shares: tuple[ExploredShare, ...]
    """What each of `PERCENTAGES` trains, in that order."""
    total: int | None
    """The weights that the checkpoint stores; None where shapes are unknown."""

    @property
    def percentages(self) -> dict[str, int]:
        """The smallest percentage at which each tensor trains; without those that none takes."""
        return {name: unit.percent for unit in self.units for name in unit.names}


def explore(report: ScanReport, score: str) -> Exploration:
    """What `spectrum plan --top N% --score SCORE` would train, for N from 1 to 100.

    Raises `PlanError` as `make_plan` does: for a score that is missing, and where there is nothing
    to take a share of.
    """
    matrices = _choosable(report)
    orders = _orders(matrices, score)
    return _exploration(score, orders, _firsts(matrices), _sizes(report))


def explore_scores(report: ScanReport) -> tuple[Exploration, ...]:
    """`explore` by each score of `report` that a plan can be made with, the report's own first.

    Empty where there is nothing to take a share of.
    """
    try:
        matrices = _choosable(report)
        firsts = _firsts(matrices)
    except PlanError:
        return ()
    sizes = _sizes(report)
    return tuple(
        _exploration(score, _orders(matrices, score), firsts, sizes)
        for score in _ranking_scores(report, matrices)
    )


def plannable_scores(report: ScanReport) -> tuple[str, ...]:
    """The scores that `explore_scores` explores, in its order."""
    try:
        matrices = _choosable(report)
        _ranked(matrices, None)(1.0)
    except PlanError:
        return ()
    return tuple(_ranking_scores(report, matrices))


def _choosable(report: ScanReport) -> list[ScannedMatrix]:
    return filtered(block_matrices(report, place_tensors(report.shapes)), (), ())


def _sizes(report: ScanReport) -> dict[str, int] | None:
    """The number of weights in every tensor; None where shapes are unknown."""
    if report.model.fingerprint is None:
        return None
    return {name: math.prod(shape) for name, shape in report.shapes.items()}


def _ranking_scores(report: ScanReport, matrices: Sequence[ScannedMatrix]) -> list[str]:
    """The scores by which all of `matrices` can be ranked, the report's own first."""
    found = []
    for score in dict.fromkeys((report.score, *SCORES)):
        try:
            for matrix in matrices:
                score_value(matrix, score)
        except PlanError:  # a matrix lacks it
            continue
        found.append(score)
    return found


def _ranked(matrices: Sequence[ScannedMatrix], score: str | None) -> Take:
    policy = PRESETS[PlanRequest().preset].policy
    assert policy is not None  # the default preset chooses
    return policy(matrices, Ranking(score=score))


def _orders(matrices: Sequence[ScannedMatrix], score: str) -> list[KindChoice]:
    """Each kind that shares are taken of, with all of its units taken."""
    return _ranked(matrices, score)(1.0)


def _firsts(matrices: Sequence[ScannedMatrix]) -> dict[int, tuple[int, ...]]:
    """By the number of units in a kind: for each of them in order, the percentage that takes it.

    One kind of each size is asked for every share, whatever ranks it.
    """
    by_size = {len(kind.order): kind for kind in _ranked(matrices, None)(1.0)}
    asked = {name for kind in by_size.values() for unit in kind.order for name in unit.names}
    take = _ranked([matrix for matrix in matrices if matrix.name in asked], None)
    firsts: dict[int, list[int]] = {size: [] for size in by_size}
    for percent in PERCENTAGES:
        for choice in take(percent / 100):
            found = firsts[len(choice.order)]
            found += [percent] * (choice.taken - len(found))
    return {size: tuple(found) for size, found in firsts.items()}


def _exploration(
    score: str,
    orders: Sequence[KindChoice],
    firsts: Mapping[int, Sequence[int]],
    sizes: Mapping[str, int] | None,
) -> Exploration:
    units = tuple(
        ExploredUnit(
            names=candidate.names,
            kind=candidate.kind,
            layer=candidate.layer,
            rank=rank,
            percent=percent,
        )
        for kind in orders
        for rank, (candidate, percent) in enumerate(
            zip(kind.order, firsts[len(kind.order)], strict=True), start=1
        )
    )
    return Exploration(
        score=score,
        units=units,
        shares=_shares(units, sizes),
        total=sum(sizes.values()) if sizes is not None else None,
    )


def _shares(
    units: Sequence[ExploredUnit], sizes: Mapping[str, int] | None
) -> tuple[ExploredShare, ...]:
    starting = defaultdict[int, list[ExploredUnit]](list)
    for unit in units:
        starting[unit.percent].append(unit)
    num_units = tensors = weights = 0
    shares = []
    for percent in PERCENTAGES:
        for unit in starting[percent]:
            num_units += 1
            tensors += len(unit.names)
            weights += sum(sizes[name] for name in unit.names) if sizes is not None else 0
        shares.append(
            ExploredShare(
                percent=percent,
                units=num_units,
                tensors=tensors,
                weights=weights if sizes is not None else None,
            )
        )
    return tuple(shares)
