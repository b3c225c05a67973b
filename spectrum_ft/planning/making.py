"""Making a plan from a scan: the choice, adapters, explicit extras, and what it adds up to."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.naming import Place, Role, natural_key, place_tensors
from spectrum_ft.environment import command_line
from spectrum_ft.errors import PlanError
from spectrum_ft.globs import check_globs, matches
from spectrum_ft.planning.adapters import (
    adaptable,
    check_rank,
    count_adapter_weights,
    has_experts,
)
from spectrum_ft.planning.candidates import (
    block_matrices,
    filtered,
    model_kinds,
    refuse_split_experts,
)
from spectrum_ft.planning.depth import lowest_trained_layer
from spectrum_ft.planning.policies import KindChoice
from spectrum_ft.planning.presets import PRESETS, Ranking, Take
from spectrum_ft.planning.published import ALWAYS_TRAINED, PUBLISHED_SCORE, SUFFIX
from spectrum_ft.planning.requests import DEFAULT_SHARE as DEFAULT_SHARE
from spectrum_ft.planning.requests import PlanRequest as PlanRequest
from spectrum_ft.records.plans import LoraSettings, Plan, PlanCounts, PlanModel, PlanPolicy
from spectrum_ft.records.scans import ScanReport


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
    bare_experts: bool
    """Whether the plan has adapters and the model has experts, which cannot carry any."""


def make_plan(report: ScanReport, request: PlanRequest | None = None) -> Planned:
    """The plan that `request` asks for, from the scores in `report`.

    Raises `PlanError` for what cannot be had: an unknown preset or score, a glob that matches
    nothing, an empty choice.
    """
    request = request or PlanRequest()
    return plans_by_share(report, request)(request.share or DEFAULT_SHARE)


def plans_by_share(report: ScanReport, request: PlanRequest) -> Callable[[float], Planned]:
    """The plan for each share in (0, 1] that might be asked for; all is ranked before, once.

    A preset that takes no share has the same plan for each. Raises `PlanError` as `make_plan` does,
    now or when called.
    """
    preset = PRESETS[request.preset]
    shapes = report.shapes
    places = place_tensors(shapes)
    planned_kinds = model_kinds(shapes, places)
    texts = {text for name, place in places.items() for text in (name, place.kind)}
    constant = {text for name in ALWAYS_TRAINED for text in (name, name.removesuffix(SUFFIX))}
    known = texts | constant | set(planned_kinds.values())
    check_globs(request.exclude, known, "kind or tensor")
    extras, tied_head = _extras(places, request.roles)
    extras = [n for n in extras if not matches(request.exclude, n, places[n].kind)]
    if preset.trains_all:
        extras = sorted(places, key=natural_key)
    always: list[str] = []
    if preset.as_published:
        lines = [n for n in ALWAYS_TRAINED if n in places or report.model.fingerprint is None]
        always = [n for n in lines if not matches(request.exclude, n, n.removesuffix(SUFFIX))]
    carriers = _carriers(report, places, request)
    take = _ranked(report, places, request, carriers)
    bare_experts = has_experts(report, places)

    def plan_for(share: float) -> Planned:
        choices = take(share)
        chosen = [name for choice in choices for unit in choice.chosen for name in unit.names]
        picked_only = request.lora_recipe.on == "picked"
        train = tuple(dict.fromkeys([*always, *([] if picked_only else chosen), *extras]))
        lora = _adapters(request, carriers, choices, chosen, set(train))
        if not train and lora is None:
            raise PlanError(
                "this plan would train nothing", "raise the share, or name what to train"
            )
        plan = Plan(
            model=PlanModel(source=report.model.source, fingerprint=report.model.fingerprint),
            train=train,
            lora=lora,
            base=request.base or preset.base,
            policy=_policy(request, report, share),
            counts=_counts(report, train, lora),
            command=command_line(),
        )
        return Planned(
            plan=plan,
            choices=tuple(choices),
            lowest_layer=lowest_trained_layer(places, plan.reached),
            tied_head=tied_head,
            bare_experts=lora is not None and bare_experts,
        )

    return plan_for


def _ranked(
    report: ScanReport,
    places: Mapping[str, Place],
    request: PlanRequest,
    carriers: Sequence[str],
) -> Take:
    preset = PRESETS[request.preset]
    if preset.policy is None:
        return lambda share: []
    matrices = report.matrices if preset.as_published else block_matrices(report, places)
    if request.lora_recipe.on == "picked":
        able = set(carriers)
        matrices = [matrix for matrix in matrices if matrix.name in able]
    left = filtered(matrices, request.kinds, request.exclude)
    if not preset.as_published:
        refuse_split_experts(matrices, left)
    ranking = Ranking(score=_score(request, report), scope=request.scope, seed=request.seed)
    return preset.policy(left, ranking)


def _carriers(report: ScanReport, places: Mapping[str, Place], request: PlanRequest) -> list[str]:
    """The matrices that adapters may be put on under this request; none if it asks for none."""
    recipe = request.lora_recipe
    if recipe.on == "none":
        return []
    able = adaptable(report, places)
    if PRESETS[request.preset].policy is None:  # else the choice checks them
        check_globs(request.kinds, {places[name].kind for name in able}, "kind")
    left = [
        name
        for name in able
        if (not request.kinds or matches(request.kinds, places[name].kind))
        and not matches(request.exclude, name, places[name].kind)
    ]
    if not left:
        raise PlanError(
            "no matrix is left to carry an adapter", "widen --kinds or --exclude, or --lora none"
        )
    check_rank(recipe, left, report)
    return left


def _adapters(
    request: PlanRequest,
    carriers: Sequence[str],
    choices: Sequence[KindChoice],
    chosen: Sequence[str],
    train: set[str],
) -> LoraSettings | None:
    """Adapters on what was chosen, or on the rest; ranked where ranks exist, best first."""
    recipe = request.lora_recipe
    able = set(carriers)
    if recipe.on == "picked":
        wanted = chosen
    else:
        ranked = [name for choice in choices for unit in choice.order for name in unit.names]
        wanted = [name for name in (*ranked, *carriers) if name not in train]
    matrices = [name for name in dict.fromkeys(wanted) if name in able]
    return recipe.settings(matrices) if matrices else None


def _score(request: PlanRequest, report: ScanReport) -> str | None:
    """The score that ranks under this request; None where none does."""
    preset = PRESETS[request.preset]
    if preset.as_published:
        return PUBLISHED_SCORE
    return (request.score or report.score) if preset.uses_score else None


def _extras(places: Mapping[str, Place], wanted: Sequence[Role]) -> tuple[list[str], bool]:
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


def _policy(request: PlanRequest, report: ScanReport, share: float) -> PlanPolicy:
    chooses = PRESETS[request.preset].policy is not None
    return PlanPolicy(
        name=request.preset,
        share=share if chooses else None,
        score=_score(request, report),
        scope=request.scope,
        kinds=tuple(request.kinds),
        exclude=tuple(request.exclude),
        seed=request.seed if chooses else None,
        lora=request.lora_recipe.on,
    )


def _counts(
    report: ScanReport, train: Sequence[str], lora: LoraSettings | None
) -> PlanCounts | None:
    if report.model.fingerprint is None:
        return None
    shapes = report.shapes
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    trained, total = sum(sizes[name] for name in train), sum(sizes.values())
    return PlanCounts(
        train=trained,
        lora=count_adapter_weights(lora, shapes),
        frozen=total - trained,
        total=total,
    )
