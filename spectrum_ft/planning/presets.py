"""Presets: the recipes that have a name, as data. Nothing downstream asks which one it was."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from spectrum_ft.checkpoints.naming import Role
from spectrum_ft.planning.adapters import LoraRecipe
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
from spectrum_ft.records.plans import Base
from spectrum_ft.records.scans import ScannedMatrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What is asked of a policy, besides how much to take."""

    score: str | None
    """The score that ranks; None for a policy that needs none."""
    scope: Scope = "kind"
    """Whether the share is taken of each kind, or of all matrices by their rank in the kind."""
    seed: int = 0
    """The seed of a random choice."""


Take = Callable[[float], list[KindChoice]]
"""A share in (0, 1] -> what is taken of each kind. Ranking is done before, once."""

Policy = Callable[[Sequence[ScannedMatrix], Ranking], Take]


def _taking(ordering: Ordering) -> Policy:
    """The policy that takes a share of the candidates in this order."""

    def rank(matrices: Sequence[ScannedMatrix], ranking: Ranking) -> Take:
        groups = ranked_candidates(matrices, score=ranking.score)
        take = TAKERS[ranking.scope]
        return lambda share: take(groups, ordering, share, ranking.seed)

    return rank


def _published(matrices: Sequence[ScannedMatrix], ranking: Ranking) -> Take:
    return lambda share: reference_choices(matrices, share)


Standing = Literal["candidate", "rival", "context"]
"""What a comparison asks of an arm: whether it is better than the rivals, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How a plan of this name is made: the values that a user could give as options."""

    name: str
    """The name in options, plans and arms of a comparison."""
    meaning: str
    """What it trains, in a few words for help texts."""
    policy: Policy | None = None
    """What chooses matrices; None for a preset that chooses none."""
    trains_all: bool = False
    """Whether every tensor of the model trains."""
    train_roles: tuple[Role, ...] = ()
    """Tensors outside the choice that train as well."""
    base: Base = "as-is"
    """How the rest is kept unless the user says otherwise."""
    lora: LoraRecipe = field(default_factory=LoraRecipe)
    """The adapters, unless the user says otherwise."""
    uses_score: bool = True
    """Whether the choice depends on a score."""
    as_published: bool = False
    """Whether the policy sees every matrix, and the published script's constant lines are added."""
    standing: Standing = "context"
    """What a comparison asks of it."""


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="spectrum",
            meaning="the best of each kind",
            policy=_taking(by_score),
            standing="candidate",
        ),
        Preset(
            name="spectrum-nf4",
            meaning="the same, with the rest kept in 4 bits",
            policy=_taking(by_score),
            base="nf4",
            standing="candidate",
        ),
        Preset(
            name="reference",
            meaning="what the published script trains, embeddings and head included",
            policy=_published,
            as_published=True,
            standing="candidate",
        ),
        Preset(
            name="spectrum-qlora",
            meaning="QLoRA with adapters on the best of each kind only",
            policy=_taking(by_score),
            base="nf4",
            lora=LoraRecipe(on="picked"),
            standing="candidate",
        ),
        Preset(
            name="hybrid",
            meaning="the best of each kind in full, adapters on the rest in 4 bits",
            policy=_taking(by_score),
            base="nf4",
            lora=LoraRecipe(on="rest"),
            standing="candidate",
        ),
        Preset(
            name="lora",
            meaning="adapters on every linear matrix of the blocks",
            lora=LoraRecipe(on="rest"),
            uses_score=False,
        ),
        Preset(
            name="qlora",
            meaning="the same, with the model in 4 bits",
            base="nf4",
            lora=LoraRecipe(on="rest"),
            uses_score=False,
            standing="rival",
        ),
        Preset(
            name="qlora-paper",
            meaning="the Spectrum paper's own QLoRA, which trains embeddings and head too",
            train_roles=("embedding", "head"),
            base="nf4",
            lora=LoraRecipe(on="rest", r=32, alpha=16.0),
            uses_score=False,
            standing="rival",
        ),
        Preset(
            name="full",
            meaning="every weight of the model",
            trains_all=True,
            uses_score=False,
        ),
        Preset(name="lowest", meaning="control: the worst", policy=_taking(by_lowest_score)),
        Preset(
            name="random",
            meaning="control: drawn at random",
            policy=_taking(by_chance),
            uses_score=False,
            standing="rival",
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
