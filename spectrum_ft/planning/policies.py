"""Policies: in which order the candidates of a kind are taken, and how many of them.

A policy is an ordering. All take the same number of matrices of each kind, so that plans made by
different policies train the same number of weights and can be compared.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Literal

from spectrum_ft.errors import PlanError
from spectrum_ft.planning.candidates import Candidate

Ordering = Callable[[Sequence[Candidate], Random], Sequence[Candidate]]
"""Candidates of one kind, best score first, and a source of chance -> the order to take them."""

Scope = Literal["kind", "overall"]

Taker = Callable[[Mapping[str, Sequence[Candidate]], Ordering, float, int], list["KindChoice"]]

SMALLEST_KIND = 4
"""Kinds with fewer members have no share to take: the first block of a DeepSeek, a pooler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindChoice:
    """What a policy took of one kind."""

    kind: str
    """The kind."""
    order: tuple[Candidate, ...]
    """All of its candidates, in the order in which the policy takes them."""
    taken: int
    """How many of them train."""

    @property
    def chosen(self) -> tuple[Candidate, ...]:
        """The candidates that train, in order."""
        return self.order[: self.taken]

    @property
    def at_the_cut(self) -> tuple[Candidate, ...]:
        """The last one taken and the first one left, where there are both."""
        if not 0 < self.taken < len(self.order):
            return ()
        return self.order[self.taken - 1 : self.taken + 1]

    @property
    def margin(self) -> float | None:
        """How far the last one taken is ahead of the first one left, relative to the larger.

        0 for a tie; None where nothing or everything was taken, or a score is unbounded.
        """
        if not self.at_the_cut:
            return None
        last, first = (candidate.value for candidate in self.at_the_cut)
        largest = max(abs(last), abs(first))
        if math.isinf(largest):
            return 0.0 if last == first else None
        return abs(last - first) / largest if largest else 0.0


def by_score(candidates: Sequence[Candidate], chance: Random) -> Sequence[Candidate]:
    """Best first."""
    return candidates


def by_lowest_score(candidates: Sequence[Candidate], chance: Random) -> Sequence[Candidate]:
    """Worst first: a control."""
    return candidates[::-1]


def by_chance(candidates: Sequence[Candidate], chance: Random) -> Sequence[Candidate]:
    """In random order: the control that any score has to beat."""
    # Shuffled from the checkpoint's order, so that a seed means the same whatever the score was.
    return chance.sample(sorted(candidates, key=lambda c: (_layer(c), c.names)), len(candidates))


def by_last_layers(candidates: Sequence[Candidate], chance: Random) -> Sequence[Candidate]:
    """From the last block down: a control, and the cheapest backward pass."""
    return sorted(candidates, key=lambda candidate: -_layer(candidate))


def by_first_layers(candidates: Sequence[Candidate], chance: Random) -> Sequence[Candidate]:
    """From the first block up: a control."""
    return sorted(candidates, key=_layer)


def _layer(candidate: Candidate) -> int:
    return -1 if candidate.layer is None else candidate.layer


def take_of_each_kind(
    groups: Mapping[str, Sequence[Candidate]], ordering: Ordering, share: float, seed: int
) -> list[KindChoice]:
    """max(1, round half up(share x n)) candidates of each kind of four or more.

    `share` in (0, 1]. Raises `PlanError` if every kind is smaller than that.
    """
    choices = [
        _choice(kind, members, ordering, seed, _rounded(share, len(members)))
        for kind, members in groups.items()
        if len(members) >= SMALLEST_KIND
    ]
    if not choices:
        raise PlanError(
            f"no kind has {SMALLEST_KIND} matrices or more to take a share of",
            "take the share of all matrices together with --scope overall",
        )
    return choices


def take_overall(
    groups: Mapping[str, Sequence[Candidate]], ordering: Ordering, share: float, seed: int
) -> list[KindChoice]:
    """The same share of all matrices together, by their rank within the kind.

    Scores of different kinds cannot be compared, so the i-th of n counts as (i + 1/2) / n; equal
    ranks go to the larger kind first. `share` in (0, 1].
    """
    orders = {kind: _choice(kind, m, ordering, seed, 0).order for kind, m in groups.items()}
    places = sorted(
        ((i + 0.5) / len(order), -len(order), kind)
        for kind, order in orders.items()
        for i in range(len(order))
    )
    taken = [kind for *_, kind in places[: _rounded(share, len(places))]]
    return [
        KindChoice(kind=kind, order=order, taken=taken.count(kind))
        for kind, order in orders.items()
    ]


TAKERS: Mapping[Scope, Taker] = {
    "kind": take_of_each_kind,
    "overall": take_overall,
}
"""How a share is taken, by scope."""


def _choice(
    kind: str, members: Sequence[Candidate], ordering: Ordering, seed: int, taken: int
) -> KindChoice:
    # A generator for each kind: leaving a kind out does not change the others' choice.
    order = tuple(ordering(members, Random(f"{seed} {kind}")))
    return KindChoice(kind=kind, order=order, taken=taken)


def _rounded(share: float, count: int) -> int:
    """max(1, round half up(share x count)), in decimal: 0.35 of 10 is 3.5, thus 4."""
    return max(1, math.floor(Fraction(str(share)) * count + Fraction(1, 2)))
