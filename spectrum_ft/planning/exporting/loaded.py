"""The names that a plan's tensors have in the loaded model, which tools look for there.

Tools pass over names that the model lacks, most of them without a word. transformers gives tensors
other names on load where it fuses them, and in most models that are made of several: it saves the
language model of a LLaVA as `language_model.model.layers` and loads it as
`model.language_model.layers`. So names are looked up in the model where there is one. Where there
is none, those are refused that give reason to doubt; what remains is likely and not certain.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from spectrum_ft.checkpoints.naming import place_tensors
from spectrum_ft.errors import PlanError, few_names
from spectrum_ft.planning.adapters import WEIGHT
from spectrum_ft.planning.exporting.names import refuse_odd
from spectrum_ft.records.plans import Plan

_INNER = frozenset(
    {"language", "text", "llm", "vlm", "thinker", "talker", "tower"}
    | {"vision", "visual", "vit", "image", "video", "audio", "sound", "speech"}
)
"""Words of a module's name that say it is one model inside another, or feeds one."""

_BY_MODEL = (
    "load the model as the tool does, then "
    "export_plan(loaded_plan(model, plan), ..., model=model); see spectrum_ft.tuning.loaded_plans"
)


class LoadedModel(Protocol):
    """A model, as far as its parameters' names go: any `torch.nn.Module`."""

    def named_parameters(self, *, remove_duplicate: bool) -> Iterable[tuple[str, object]]:
        """Its parameters by name; a tied one under each of its names, if duplicates stay."""


def in_model(plan: Plan, model: LoadedModel) -> Plan:
    """`plan` with each tensor by the name that `model.named_parameters()` has for it.

    Of a tied parameter that is its first name: a head that is the embeddings goes by theirs. Raises
    `PlanError` if the model has no parameter of a name.
    """
    refuse_odd(plan.reached)
    parameters = list(model.named_parameters(remove_duplicate=False))
    firsts: dict[int, str] = {}
    seen = {name: firsts.setdefault(id(parameter), name) for name, parameter in parameters}
    lacking = [name for name in plan.reached if name not in seen]
    if lacking:
        raise PlanError(
            f"the loaded model has no parameter of these names: {few_names(lacking)}", _BY_MODEL
        )
    # Adapters sit on modules, and a tied head is a module of its own.
    return replace(plan, train=tuple(dict.fromkeys(seen[name] for name in plan.train)))


def refuse_doubtful(plan: Plan, stored: Collection[str]) -> None:
    """Raise `PlanError` where names give reason to doubt that the loaded model has them.

    These are single experts, which transformers fuses; tensors whose list of blocks is not inside a
    model (`h.0.attn.c_attn.weight`, or a GGUF's `blk.0...`); and all of a checkpoint that holds
    several models. `stored` are the checkpoint's names as far as known, beside those of the plan.
    """
    refuse_odd(plan.reached)
    _refuse_experts(plan.train)
    _refuse_bare(plan.train)
    _refuse_several((*plan.reached, *stored))


def head_alone(plan: Plan) -> tuple[str, ...]:
    """The heads that the plan trains in full without any embeddings."""
    roles = {name: place.role for name, place in place_tensors(plan.train).items()}
    if "embedding" in roles.values():
        return ()
    return tuple(n for n, role in roles.items() if role == "head" and n.endswith(WEIGHT))


def _refuse_experts(names: Sequence[str]) -> None:
    experts = [name for name, place in place_tensors(names).items() if place.expert is not None]
    if experts:
        raise PlanError(
            f"{few_names(experts)}: transformers loads all experts of a block as one parameter",
            _BY_MODEL,
        )


def _refuse_bare(names: Sequence[str]) -> None:
    if of_gguf := [name for name in names if name.startswith("blk.")]:
        raise PlanError(
            f"{few_names(of_gguf)}: a GGUF's name, which no loaded model has",
            "scan the folder that the GGUF was made from or converted to, and plan from that",
        )
    bare = [name for name in names if any(part.isdigit() for part in name.split(".")[:2])]
    if bare:
        raise PlanError(
            f"{few_names(bare)}: a loaded language model has its blocks one level deeper, "
            "so nothing would match",
            _BY_MODEL,
        )


def _refuse_several(names: Collection[str]) -> None:
    inner = [name for name in names if not _INNER.isdisjoint(_words(_outside_blocks(name)))]
    places = place_tensors(tuple(dict.fromkeys(names)))
    blocks = [name for name, place in places.items() if place.layer is not None]
    stacks = list(dict.fromkeys(".".join(_outside_blocks(name)) for name in blocks))
    signs = inner[:1] or (stacks if len(stacks) > 1 else [])
    if signs:
        raise PlanError(
            f"{few_names(signs)}: a checkpoint of several models, whose parts transformers loads "
            "under other names in many cases",
            _BY_MODEL,
        )


def _outside_blocks(name: str) -> list[str]:
    """The modules of `name` down to its list of blocks, or down to its own where it is in none."""
    modules = name.split(".")[:-1]
    number = next((i for i, part in enumerate(modules) if i and part.isdigit()), len(modules))
    return modules[:number]


def _words(modules: Iterable[str]) -> set[str]:
    return {word for module in modules for word in module.lower().split("_")}
