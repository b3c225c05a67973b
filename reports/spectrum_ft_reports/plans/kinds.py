"""The tables of a plan, as strings: kinds in numbers, and the matrices that it reaches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.records.plans import Plan
from spectrum_ft.treatments.choices import Choice, Standing
from spectrum_ft.treatments.subjects import Subject
from spectrum_ft.treatments.treatments import TREATMENTS, Row, Unit
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.plans import wording

NONE = "-"
"""What stands for no number."""

_MOST_KINDS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """A kind, or tensors of one sort, in numbers."""

    kind: str
    """What it is called."""
    of: str
    """How many there are; empty where only the plan's own are known."""
    train: str
    """How many train in full."""
    adapter: str
    """How many carry an adapter."""
    packed: str
    """How many are kept in fewer bits, without an adapter."""
    frozen: str
    """How many are frozen as they are."""
    weights: str
    """The weights of all of them."""
    trained: str
    """The weights of those that train."""
    cut: str
    """The score of the last one taken and of the first one left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """What the plan reaches."""

    name: str
    """The tensor, or the first of the experts and how many more."""
    kind: str
    """Its kind."""
    layer: str
    """Its block."""
    treatment: str
    """What becomes of it."""
    shape: str
    """Its extents."""
    weights: str
    """Its weights."""
    num_params: int
    """The same as a number, to sort by; 0 where unknown."""
    score: str
    """Its score."""
    rank: str
    """Its rank within the kind, of how many."""


def kind_rows(
    plan: Plan, rows: Sequence[Row], choice: Choice | None, subject: Subject
) -> tuple[KindRow, ...]:
    """Each row in numbers; the first few hundred of very many kinds."""
    cuts = {}
    if choice is not None and not choice.edited and plan.policy.score is not None:
        cuts = {kind.kind: kind.at_the_cut for kind in choice.kinds if kind.at_the_cut}
    known = subject.found is not None
    shown = [row for row in rows if row.is_kind][:_MOST_KINDS]
    shown += [row for row in rows if not row.is_kind]
    told = []
    for row in shown:
        number = {t: f"{row.counts[t]:,}" if row.counts.get(t) else NONE for t in TREATMENTS}
        cut = cuts.get(row.label, ()) if row.is_kind else ()
        told.append(
            KindRow(
                kind=printable(row.label, 60),
                of=f"{len(row.units):,}" if known else NONE,
                train=number["train"],
                adapter=number["adapter"],
                packed=number["packed"],
                frozen=number["frozen"],
                weights=_count(row.num_params),
                trained=_count(row.trained_params),
                cut=" | ".join(wording.score_text(unit.value) for unit in cut) or NONE,
            )
        )
    return tuple(told)


def _count(number: int) -> str:
    return numbers.count(number) if number else NONE


def matrix_rows(
    plan: Plan, rows: Sequence[Row], standing: Mapping[str, Standing], most: int
) -> tuple[tuple[MatrixRow, ...], str]:
    """What the plan reaches, at most so many; and how many more there are, or nothing."""
    labels = wording.treatment_labels(plan)
    reached = [u for row in rows for u in row.units if u.treatment in ("train", "adapter")]
    told = tuple(
        MatrixRow(
            name=_name(unit),
            kind=printable(unit.row, 60),
            layer=NONE if unit.layer is None else str(unit.layer),
            treatment=labels[unit.treatment],
            shape=shape_text(unit),
            weights=_count(unit.num_params),
            num_params=unit.num_params,
            score=wording.score_text(place.value) if place else NONE,
            rank=f"{place.rank} of {place.of}" if place else NONE,
        )
        for unit in reached[:most]
        for place in [standing.get(unit.names[0])]
    )
    more = len(reached) - most
    return told, f"{more:,} more are not listed; the plan names them all." if more > 0 else ""


def _name(unit: Unit) -> str:
    more = f" and {len(unit.names) - 1:,} more" if len(unit.names) > 1 else ""
    return printable(unit.names[0], 120) + more


def shape_text(unit: Unit) -> str:
    """The extents of a unit's first tensor: `576 x 1536`."""
    extents = " x ".join(map(str, unit.shape[:6]))
    return (
        f"{len(unit.names):,} of {extents}" if len(unit.names) > 1 and extents else extents or NONE
    )
