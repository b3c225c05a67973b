"""What every share would train: for each unit of choice, the smallest share that takes it.

What a share takes, every larger one takes as well: `round half up(share x n)` of one fixed order.
So one whole percentage per unit says all that a hundred plans would.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.naming import place_tensors
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.candidates import block_matrices, filtered
from spectrum_ft.planning.policies import KindChoice
from spectrum_ft.planning.presets import PRESETS, Ranking
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
    return _explored(_choosable(report), score, _sizes(report))


def explore_scores(report: ScanReport) -> tuple[Exploration, ...]:
    """`explore` by each score of `report` that a plan can be made with, the report's own first.

    Empty where there is nothing to take a share of.
    """
    try:
        matrices = _choosable(report)
    except PlanError:
        return ()
    sizes = _sizes(report)
    found = []
    for score in dict.fromkeys((report.score, *SCORES)):
        try:
            found.append(_explored(matrices, score, sizes))
        except PlanError:  # a matrix lacks it
            continue
    return tuple(found)


def _choosable(report: ScanReport) -> list[ScannedMatrix]:
    return filtered(block_matrices(report, place_tensors(report.shapes)), (), ())


def _sizes(report: ScanReport) -> dict[str, int] | None:
    """The number of weights in every tensor; None where shapes are unknown."""
    if report.model.fingerprint is None:
        return None
    return {name: math.prod(shape) for name, shape in report.shapes.items()}


def _explored(
    matrices: Sequence[ScannedMatrix], score: str, sizes: Mapping[str, int] | None
) -> Exploration:
    policy = PRESETS[PlanRequest().preset].policy
    assert policy is not None  # the default preset chooses
    take = policy(matrices, Ranking(score=score))
    by_percent = [take(percent / 100) for percent in PERCENTAGES]
    units = [unit for kind in zip(*by_percent, strict=True) for unit in _units(kind)]
    return Exploration(
        score=score,
        units=tuple(units),
        shares=_shares(units, sizes),
        total=sum(sizes.values()) if sizes is not None else None,
    )


def _units(choices: Sequence[KindChoice]) -> Iterator[ExploredUnit]:
    """The units of one kind in their order; `choices` are what each percentage took of it."""
    firsts: list[int] = []  # of each unit taken so far, the percentage that took it
    for percent, choice in zip(PERCENTAGES, choices, strict=True):
        firsts += [percent] * (choice.taken - len(firsts))
    for rank, candidate in enumerate(choices[0].order, start=1):
        yield ExploredUnit(
            names=candidate.names,
            kind=candidate.kind,
            layer=candidate.layer,
            rank=rank,
            percent=firsts[rank - 1],
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
