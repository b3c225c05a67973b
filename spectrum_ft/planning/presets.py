"""Presets: the recipes that have a name, as data. Nothing downstream asks which one it was."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.planning.candidates import ranked_candidates
from spectrum_ft.planning.policies import (
    TAKERS,
    KindChoice,
    Ordering,
    Scope,
    by_chance,
    by_first_layers,
    by_last_layers,
    by_lowest_score,
    by_score,
)
from spectrum_ft.planning.published import reference_choices
from spectrum_ft.records import Base, ScannedMatrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a policy."""

    share: float
    """The share to take, in (0, 1]."""
    score: str | None
    """The score that ranks; None for a policy that needs none."""
    scope: Scope = "kind"
    """Whether the share is taken of each kind, or of all matrices by their rank in the kind."""
    seed: int = 0
    """The seed of a random choice."""


Policy = Callable[[Sequence[ScannedMatrix], Request], list[KindChoice]]


def _taking(ordering: Ordering) -> Policy:
    """The policy that takes a share of the candidates in this order."""

    def choose(matrices: Sequence[ScannedMatrix], request: Request) -> list[KindChoice]:
        groups = ranked_candidates(matrices, score=request.score)
        return TAKERS[request.scope](groups, ordering, request.share, request.seed)

    return choose


def _published(matrices: Sequence[ScannedMatrix], request: Request) -> list[KindChoice]:
    return reference_choices(matrices, request.share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How a plan of this name is made."""

    name: str
    """The name in options, plans and arms of a comparison."""
    meaning: str
    """What it trains, in a few words for help texts."""
    policy: Policy | None
    """What chooses the matrices; None for the preset that takes every tensor."""
    base: Base = "as-is"
    """How the rest is kept unless the user says otherwise."""
    uses_score: bool = True
    """Whether the choice depends on a score."""
    as_published: bool = False
    """Whether the policy sees every matrix, and the published script's constant lines are added."""


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(name="spectrum", meaning="the best of each kind", policy=_taking(by_score)),
        Preset(
            name="spectrum-nf4",
            meaning="the same, with the rest kept in 4 bits",
            policy=_taking(by_score),
            base="nf4",
        ),
        Preset(
            name="reference",
            meaning="what the published script trains, embeddings and head included",
            policy=_published,
            as_published=True,
        ),
        Preset(name="full", meaning="every weight of the model", policy=None, uses_score=False),
        Preset(name="lowest", meaning="control: the worst", policy=_taking(by_lowest_score)),
        Preset(
            name="random",
            meaning="control: drawn at random",
            policy=_taking(by_chance),
            uses_score=False,
        ),
        Preset(
            name="top-layers",
            meaning="control: the last blocks",
            policy=_taking(by_last_layers),
            uses_score=False,
        ),
        Preset(
            name="bottom-layers",
            meaning="control: the first blocks",
            policy=_taking(by_first_layers),
            uses_score=False,
        ),
    )
}
"""Every preset, by name; `spectrum` is the default."""
