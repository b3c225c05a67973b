"""What a plan is asked to be, checked before anything is read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spectrum_ft.checkpoints.naming import Role
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.adapters import LoraRecipe
from spectrum_ft.planning.policies import TAKERS, Scope
from spectrum_ft.planning.presets import PRESETS, Preset
from spectrum_ft.planning.published import PUBLISHED_SCORE
from spectrum_ft.records.plans import Base, LoraOn

DEFAULT_SHARE = 0.25
"""The share that the Spectrum paper trains by default (arXiv 2406.06623)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What a plan is asked to be."""

    preset: str = "spectrum"
    """The recipe, a key of `PRESETS`."""
    share: float | None = None
    """The share to train, in (0, 1]; None for the default, a quarter."""
    score: str | None = None
    """The score that ranks; None for the one that the scan made sure of."""
    scope: Scope = "kind"
    """Whether the share is taken of each kind, or of all matrices by their rank in the kind."""
    kinds: Sequence[str] = ()
    """Globs over kinds to choose from and to put adapters on; empty for all."""
    exclude: Sequence[str] = ()
    """Globs over kinds and tensor names to leave out."""
    train_roles: Sequence[Role] = ()
    """Tensors outside the choice that train as well: `embedding`, `head`, `norm`."""
    base: Base | None = None
    """How the rest is kept; None for the preset's own way."""
    lora: LoraOn | None = None
    """What gets adapters, see `LoraRecipe.on`; None for the preset's own way."""
    lora_r: int | None = None
    """The adapters' rank; None for the preset's."""
    lora_alpha: float | None = None
    """The adapters' alpha; None for the preset's."""
    lora_dropout: float | None = None
    """Dropout on the adapters' input; None for the preset's."""
    seed: int = 0
    """The seed of a random choice."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise PlanError(f"unknown preset {self.preset!a}", f"presets: {', '.join(PRESETS)}")
        if self.share is not None and not 0.0 < self.share <= 1.0:
            raise PlanError(
                f"a share of {self.share:.3g} cannot be taken", "give more than 0 %, at most 100 %"
            )
        if self.scope not in TAKERS:
            raise PlanError(f"unknown scope {self.scope!a}", f"scopes: {', '.join(TAKERS)}")
        self._check_choice(PRESETS[self.preset])
        self._check_adapters(PRESETS[self.preset])

    def _check_choice(self, preset: Preset) -> None:
        other_rule = self.score not in (None, PUBLISHED_SCORE) or self.scope != "kind"
        if preset.as_published and other_rule:
            raise PlanError(
                f"the preset {self.preset} ranks by {PUBLISHED_SCORE} within each kind, always",
                "leave --score and --scope out, or choose another preset",
            )
        if preset.trains_all and (self.share or self.kinds or self.exclude):
            raise PlanError(
                f"the preset {self.preset} trains everything: no share, no kinds, no exclusions",
                "leave those options out, or choose another preset",
            )
        if preset.policy is None and (self.share or self.score or self.scope != "kind"):
            raise PlanError(
                f"the preset {self.preset} ranks nothing: no share, no score, no scope",
                "leave those options out, or choose another preset",
            )

    def _check_adapters(self, preset: Preset) -> None:
        recipe = self.lora_recipe  # checks its numbers
        if recipe.on == "none" and (self.lora_r, self.lora_alpha, self.lora_dropout) != (None,) * 3:
            raise PlanError(
                "adapters are described, but nothing gets one",
                "say what does with --lora rest or --lora picked",
            )
        if recipe.on == "picked" and (preset.policy is None or preset.as_published):
            raise PlanError(
                f"the preset {self.preset} does not choose matrices for adapters",
                "use --lora rest, or choose another preset",
            )
        if preset.trains_all and (recipe.on != "none" or self.base not in (None, "as-is")):
            raise PlanError(
                f"the preset {self.preset} leaves no matrix for adapters or fewer bits",
                "leave --lora and --base out, or choose another preset",
            )

    @property
    def lora_recipe(self) -> LoraRecipe:
        """The preset's adapters with what was asked of them instead."""
        asked = {
            "on": self.lora,
            "r": self.lora_r,
            "alpha": self.lora_alpha,
            "dropout": self.lora_dropout,
        }
        given = {key: value for key, value in asked.items() if value is not None}
        return replace(PRESETS[self.preset].lora, **given)  # type: ignore[arg-type]  # by the keys

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that train besides the choice: the preset's and those asked for."""
        return tuple(dict.fromkeys((*PRESETS[self.preset].train_roles, *self.train_roles)))
