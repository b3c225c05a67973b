"""What becomes of every tensor of a model under a plan, by kind and layer."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from spectrum_ft.checkpoints.naming import Place, Role
from spectrum_ft.forecasting.keeping import is_quantizable
from spectrum_ft.planning.adapters import count_adapter_weights
from spectrum_ft.planning.candidates import model_kinds
from spectrum_ft.records.plans import Plan
from spectrum_ft.treatments.subjects import Subject

Treatment = Literal["train", "adapter", "packed", "frozen"]
TREATMENTS: tuple[Treatment, ...] = ("train", "adapter", "packed", "frozen")
"""What may become of a tensor, the most first; an adapter sits on a matrix that may be packed."""

_OTHERS = "other tensors"
_OUTSIDE: Mapping[Role, str] = {
    "embedding": "embeddings",
    "head": "head",
    "norm": "norms",
    "bias": "biases",
}
_LAST = ("norms", "biases", "embeddings", "head", _OTHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a plan decides as one: a tensor, or the experts of a block that share a kind."""

    names: tuple[str, ...]
    """The tensors, in the checkpoint's order."""
    row: str
    """Its kind as it is planned, or for what is no matrix of a block, what it is called together
    with its like."""
    layer: int | None
    """Its block; None outside the blocks."""
    treatment: Treatment
    """The most that happens to any of its tensors."""
    reached: int
    """To how many of its tensors that happens."""
    num_params: int
    """Its weights; 0 where shapes are unknown."""
    trained_params: int
    """How many of them are updated."""
    adapter_params: int
    """The weights of its adapters, on top."""
    shape: tuple[int, ...]
    """The extents of its first tensor; empty where unknown."""

    @property
    def of_experts(self) -> bool:
        """Whether it holds the matrices of several experts, in many tensors or in one."""
        return len(self.names) > 1 or len(self.shape) > 2

    @property
    def split(self) -> bool:
        """Whether something else happens to some of its tensors."""
        return self.reached < len(self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """One position of the grid: all units of a row in one block, or outside the blocks."""

    treatment: Treatment
    """The most that happens to any of them."""
    partly: bool
    """Whether something else happens to others."""
    units: tuple[Unit, ...]
    """The units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A kind of matrices, or tensors of one sort that are none: norms, embeddings."""

    label: str
    """The kind as it is planned, or what the tensors are called."""
    is_kind: bool
    """Whether it is a kind of the blocks' matrices."""
    units: tuple[Unit, ...]
    """What there is of it, in the checkpoint's order."""
    counts: Mapping[Treatment, int] = field(default_factory=dict)
    """How many units are treated in each way."""

    @property
    def squares(self) -> dict[int | None, Square]:
        """The row of the grid, by layer."""
        by_layer: dict[int | None, list[Unit]] = defaultdict(list)
        for unit in self.units:
            by_layer[unit.layer].append(unit)
        return {layer: _square(units) for layer, units in by_layer.items()}

    @property
    def num_params(self) -> int:
        """The weights of it; 0 where shapes are unknown."""
        return sum(unit.num_params for unit in self.units)

    @property
    def trained_params(self) -> int:
        """The weights of it that are updated."""
        return sum(unit.trained_params for unit in self.units)


def lay_out(plan: Plan, subject: Subject) -> tuple[Row, ...]:
    """The rows of the model: kinds in the checkpoint's order, then what is no matrix of a block."""
    kinds = model_kinds(subject.shapes, subject.places)
    groups: dict[tuple[str, int | None, str | None], list[str]] = defaultdict(list)
    of_kind: set[str] = set()
    for name, place in subject.places.items():
        shape = subject.shapes[name]
        matrix = place.role == "block" and len(shape) != 1
        row = kinds[place.kind] if matrix else _OUTSIDE.get(place.role, _OTHERS)
        if matrix:
            of_kind.add(row)
        together = matrix and (place.expert is not None or len(shape) > 2)
        groups[row, place.layer, None if together else name].append(name)
    treated = _treatments(plan, subject)
    rows: dict[str, list[Unit]] = defaultdict(list)
    for (row, layer, _), names in groups.items():
        rows[row].append(_unit(plan, subject, treated, row, layer, names))
    order = [*(r for r in rows if r in of_kind), *(r for r in _LAST if r in rows.keys() - of_kind)]
    return tuple(
        Row(
            label=row,
            is_kind=row in of_kind,
            units=tuple(rows[row]),
            counts=Counter(unit.treatment for unit in rows[row]),
        )
        for row in order
    )


def _treatments(plan: Plan, subject: Subject) -> dict[str, Treatment]:
    train, adapted = set(plan.train), set(plan.adapted)
    treated: dict[str, Treatment] = {}
    for name, place in subject.places.items():
        if name in train:
            treated[name] = "train"
        elif name in adapted:
            treated[name] = "adapter"
        else:
            treated[name] = "packed" if _is_packed(name, plan, subject, place) else "frozen"
    return treated


def _is_packed(name: str, plan: Plan, subject: Subject, place: Place) -> bool:
    """Whether a tensor that neither trains nor carries an adapter is kept in fewer bits."""
    shape = subject.shapes[name] or (0, 0)  # of an import, what was ranked counts as a matrix
    return plan.base != "as-is" and is_quantizable(name, shape, place)


def _unit(
    plan: Plan,
    subject: Subject,
    treated: Mapping[str, Treatment],
    row: str,
    layer: int | None,
    names: list[str],
) -> Unit:
    shapes = subject.shapes
    sizes = {name: math.prod(shapes[name]) if shapes[name] else 0 for name in names}
    each = Counter(treated[name] for name in names)
    most = next(treatment for treatment in TREATMENTS if each[treatment])
    carriers = [n for n in names if treated[n] == "adapter" and len(shapes[n]) == 2]
    return Unit(
        names=tuple(names),
        row=row,
        layer=layer,
        treatment=most,
        reached=each[most],
        num_params=sum(sizes.values()),
        trained_params=sum(sizes[name] for name in names if treated[name] == "train"),
        adapter_params=_adapter_params(plan, subject, carriers),
        shape=shapes[names[0]],
    )


def _adapter_params(plan: Plan, subject: Subject, carriers: list[str]) -> int:
    if plan.lora is None or not carriers:
        return 0
    return count_adapter_weights(replace(plan.lora, matrices=tuple(carriers)), subject.shapes)


def _square(units: list[Unit]) -> Square:
    most = min((unit.treatment for unit in units), key=TREATMENTS.index)
    partly = any(unit.split or unit.treatment != most for unit in units)
    return Square(treatment=most, partly=partly, units=tuple(units))
