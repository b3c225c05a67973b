"""Making a plan from a scan: the choice, the explicit extras, and what it all adds up to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.naming import Place, Role, natural_key, place_tensors
from spectrum_ft.environment import command_line
from spectrum_ft.errors import PlanError
from spectrum_ft.globs import check_globs, matches
from spectrum_ft.planning.candidates import (
    block_matrices,
    filtered,
    refuse_split_experts,
)
from spectrum_ft.planning.depth import lowest_trained_layer
from spectrum_ft.planning.policies import TAKERS, KindChoice, Scope
from spectrum_ft.planning.presets import PRESETS, Preset, Request
from spectrum_ft.planning.published import ALWAYS_TRAINED, PUBLISHED_SCORE, SUFFIX
from spectrum_ft.records import Base, Plan, PlanCounts, PlanModel, PlanPolicy, ScanReport

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
    """Globs over kinds to choose from; empty for all."""
    exclude: Sequence[str] = ()
    """Globs over kinds and tensor names to leave out."""
    train_roles: Sequence[Role] = ()
    """Tensors outside the choice that train as well: `embedding`, `head`, `norm`."""
    base: Base | None = None
    """How the rest is kept; None for the preset's own way."""
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
        other_rule = self.score not in (None, PUBLISHED_SCORE) or self.scope != "kind"
        if PRESETS[self.preset].as_published and other_rule:
            raise PlanError(
                f"the preset {self.preset} ranks by {PUBLISHED_SCORE} within each kind, always",
                "leave --score and --scope out, or choose another preset",
            )
        if PRESETS[self.preset].policy is None and (self.share or self.kinds or self.exclude):
            raise PlanError(
                f"the preset {self.preset} trains everything: no share, no kinds, no exclusions",
                "leave those options out, or choose another preset",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and how it came about."""

    plan: Plan
    """The plan itself."""
    choices: tuple[KindChoice, ...]
    """What was taken of each kind; empty for a preset that does not choose."""
    lowest_layer: int | None
    """Where the backward pass can stop, see `lowest_trained_layer`."""
    tied_head: bool
    """Whether the head was asked for and shares its weights with the embeddings, so they train."""


def make_plan(report: ScanReport, request: PlanRequest | None = None) -> Planned:
    """The plan that `request` asks for, from the scores in `report`.

    Raises `PlanError` for what cannot be had: an unknown preset or score, a glob that matches
    nothing, an empty choice.
    """
    request = request or PlanRequest()
    preset = PRESETS[request.preset]
    places = place_tensors(report.shapes)
    texts = {text for name, place in places.items() for text in (name, place.kind)}
    constant = {text for name in ALWAYS_TRAINED for text in (name, name.removesuffix(SUFFIX))}
    check_globs(request.exclude, texts | constant, "kind or tensor")
    extras, tied_head = _extras(places, request.train_roles)
    choices = _choices(report, places, request, preset)
    if preset.policy is None:
        train = sorted(places, key=natural_key)
    else:
        train = [name for choice in choices for unit in choice.chosen for name in unit.names]
        train += [n for n in extras if not matches(request.exclude, n, places[n].kind)]
    if preset.as_published:
        known = report.model.fingerprint is not None
        lines = [name for name in ALWAYS_TRAINED if name in places or not known]
        train[:0] = [n for n in lines if not matches(request.exclude, n, n.removesuffix(SUFFIX))]
    if not train:
        raise PlanError("this plan would train nothing", "raise the share, or name what to train")
    plan = Plan(
        model=PlanModel(source=report.model.source, fingerprint=report.model.fingerprint),
        train=tuple(dict.fromkeys(train)),
        base=request.base or preset.base,
        policy=_policy(request, report),
        counts=_counts(report, train),
        command=command_line(),
    )
    return Planned(
        plan=plan,
        choices=tuple(choices),
        lowest_layer=lowest_trained_layer(places, plan.train),
        tied_head=tied_head,
    )


def _choices(
    report: ScanReport, places: dict[str, Place], request: PlanRequest, preset: Preset
) -> list[KindChoice]:
    if preset.policy is None:
        return []
    matrices = report.matrices if preset.as_published else block_matrices(report, places)
    left = filtered(matrices, request.kinds, request.exclude)
    if not preset.as_published:
        refuse_split_experts(matrices, left)
    wanted = Request(
        share=request.share or DEFAULT_SHARE,
        score=_score(request, report),
        scope=request.scope,
        seed=request.seed,
    )
    return preset.policy(left, wanted)


def _score(request: PlanRequest, report: ScanReport) -> str | None:
    """The score that ranks under this request; None where none does."""
    preset = PRESETS[request.preset]
    if preset.as_published:
        return PUBLISHED_SCORE
    return (request.score or report.score) if preset.uses_score else None


def _extras(places: dict[str, Place], wanted: Sequence[Role]) -> tuple[list[str], bool]:
    """The tensors with the roles wanted, and whether a tied head made the embeddings one of them.

    A checkpoint without a head of its own ties it to the embeddings: training one trains both. A
    norm's bias goes with its weight.
    """
    roles = {place.role for place in places.values()}
    tied = "head" in wanted and "head" not in roles
    if tied:
        wanted = [*(role for role in wanted if role != "head"), "embedding"]
    for role in wanted:
        if role not in roles:
            raise PlanError(f"this model has no {role} to train", "leave that option out")
    kinds = {place.kind for place in places.values() if place.role in wanted}
    return [name for name, place in places.items() if place.kind in kinds], tied


def _policy(request: PlanRequest, report: ScanReport) -> PlanPolicy:
    chooses = PRESETS[request.preset].policy is not None
    return PlanPolicy(
        name=request.preset,
        share=(request.share or DEFAULT_SHARE) if chooses else None,
        score=_score(request, report),
        scope=request.scope,
        kinds=tuple(request.kinds),
        exclude=tuple(request.exclude),
        seed=request.seed if chooses else None,
    )


def _counts(report: ScanReport, train: Sequence[str]) -> PlanCounts | None:
    if report.model.fingerprint is None:
        return None
    sizes = {name: math.prod(shape) for name, shape in report.shapes.items()}
    trained, total = sum(sizes[name] for name in dict.fromkeys(train)), sum(sizes.values())
    return PlanCounts(train=trained, lora=0, frozen=total - trained, total=total)
