"""Applying a plan to a loaded model, and proving that what trains is what the plan says.

Nothing is loaded or quantized here, so it works inside anyone's own loop or Trainer.
"""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from spectrum_ft.checkpoints.naming import place_tensors
from spectrum_ft.errors import PlanError, few_names
from spectrum_ft.planning.depth import lowest_trained_layer
from spectrum_ft.records.plans import LoraSettings, Plan
from spectrum_ft.records.training import Precision
from spectrum_ft.tuning.runtime_names import RuntimeNames, Unit, module_of

_ADAPTABLE = (nn.Linear, Conv1D)  # bitsandbytes' packed layers are kinds of the first


@dataclass(frozen=True, kw_only=True)
class Applied:
    """A model under a plan."""

    model: Any
    """The model to train: the one given, or PEFT's wrapper around it where there are adapters."""
    base: Any
    """The model given."""
    plan: Plan
    """The plan."""
    names: RuntimeNames
    """The way between the checkpoint's names and the model's."""
    units: tuple[Unit, ...]
    """What trains in full."""
    trained: dict[str, nn.Parameter]
    """The parameters that train in full, by the base model's names; each once."""
    adapters: dict[str, nn.Parameter]
    """The adapters' parameters, by the wrapped model's names."""
    adapted: dict[str, str]
    """The module under each matrix with an adapter, by checkpoint name."""
    lowest_layer: int | None
    """The lowest block that the backward pass has to reach; None where that is all of them."""

    def trained_tensors(self) -> dict[str, Tensor]:
        """What trains in full, detached, under the checkpoint's names and in its arrangement."""
        stored: dict[str, Tensor] = {}
        for unit in self.units:
            values = {name: self.names.parameters[name].detach() for name in unit.runtime}
            stored |= self.names.to_stored(unit, values)
        return stored

    @torch.no_grad()
    def load_trained(self, tensors: dict[str, Tensor]) -> None:
        """Put `tensors`, named as `trained_tensors` names them, into the model.

        Raises `PlanError` where they are not the tensors that train.
        """
        wanted = {name for unit in self.units for name in unit.stored}
        if wanted != set(tensors):
            raise PlanError(
                f"these are not the trained tensors: {few_names(sorted(wanted ^ set(tensors)))}"
            )
        for unit in self.units:
            for name, value in self.names.to_runtime(unit, tensors).items():
                self.names.parameters[name].copy_(value)


def apply_plan(
    model: Any, plan: Plan, *, precision: Precision = "master", seed: int = 0
) -> Applied:
    """`model` with exactly the plan's tensors set to train, and adapters where it wants them.

    `model` is a transformers model, quantized or not; it is changed in place. With `precision`
    `master` the trained parameters become float32, in which small steps add up: in bfloat16 an
    update below 1/256 of a weight is lost. `seed` is that of the adapters' first values.

    The result is proved: the set of parameters that require a gradient, taken by identity (tied
    parameters are one), equals the plan's, and all of it is floating point. Raises `PlanError` for
    names that lead nowhere, parts of fused parameters, matrices that cannot carry an adapter, and
    whenever the proof fails.
    """
    names = RuntimeNames(model)
    units = tuple(names.units(plan.train)) if plan.train else ()
    trained = _distinct({name: names.parameters[name] for u in units for name in u.runtime})
    _refuse_quantized(trained)
    modules = _adapted_modules(names, plan.lora) if plan.lora else {}
    _refuse_both(trained, modules)
    model.requires_grad_(False)
    wrapped = _with_adapters(model, plan.lora, modules, seed) if plan.lora else model
    for parameter in trained.values():
        if precision == "master":
            parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    ours = {id(parameter) for parameter in trained.values()}
    adapters = {
        name: parameter
        for name, parameter in wrapped.named_parameters()
        if parameter.requires_grad and id(parameter) not in ours
    }
    applied = Applied(
        model=wrapped,
        base=model,
        plan=plan,
        names=names,
        units=units,
        trained=trained,
        adapters=adapters,
        adapted=modules,
        lowest_layer=_lowest_layer(model, trained, plan),
    )
    prove_plan(applied)
    return applied


def prove_plan(applied: Applied) -> None:
    """Raise `PlanError` unless exactly the plan's parameters require a gradient.

    Also: all of them are floating point, none of them packed in 4 or 8 bits, every adapter sits
    on a matrix of the plan and every such matrix carries one.
    """
    plan = applied.plan
    _refuse_quantized(applied.trained)
    wanted = {id(parameter) for parameter in applied.trained.values()}
    wanted |= {id(parameter) for parameter in applied.adapters.values()}
    found = {
        id(parameter): name
        for name, parameter in applied.model.named_parameters()
        if parameter.requires_grad
    }
    extra = [name for key, name in found.items() if key not in wanted]
    lacking = [
        name
        for name, parameter in {**applied.trained, **applied.adapters}.items()
        if id(parameter) not in found
    ]
    if extra or lacking:
        parts = [f"{few_names(extra)} would train as well"] if extra else []
        parts += [f"{few_names(lacking)} would not train"] if lacking else []
        raise PlanError(
            f"the model's trainable set is not the plan's: {'; '.join(parts)}",
            "nothing was trained; do not change requires_grad after the plan was applied",
        )
    carriers = {_carrier(name) for name in applied.adapters}
    if carriers != set(applied.adapted.values()):
        odd = sorted(carriers ^ set(applied.adapted.values()))
        raise PlanError(f"adapters do not sit where the plan wants them: {few_names(odd)}")
    if not found:
        raise PlanError("this plan trains nothing", "plan again, or name what to train")
    assert plan.lora is not None or not applied.adapters


def _distinct(parameters: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """Each parameter once, under the first of its names."""
    seen: dict[int, str] = {}
    for name, parameter in parameters.items():
        seen.setdefault(id(parameter), name)
    return {name: parameters[name] for name in seen.values()}


def _refuse_quantized(trained: dict[str, nn.Parameter]) -> None:
    packed = [name for name, p in trained.items() if not p.is_floating_point()]
    if packed:
        raise PlanError(
            f"{few_names(packed)}: kept in 4 or 8 bits, which cannot train",
            "load the model with load_for_training, which keeps the plan's matrices out of it",
        )


def _refuse_both(trained: dict[str, nn.Parameter], modules: dict[str, str]) -> None:
    both = [name for name, module in modules.items() if f"{module}.weight" in trained]
    if both:
        raise PlanError(
            f"{few_names(both)}: planned to train in full and to carry an adapter",
            "take it out of `train` or out of `lora.matrices`",
        )


def _adapted_modules(names: RuntimeNames, lora: LoraSettings) -> dict[str, str]:
    """The module of each matrix that gets an adapter, by checkpoint name."""
    units = names.units(lora.matrices)
    fused = [unit.stored[0] for unit in units if unit.fused]
    bare = [
        unit.stored[0]
        for unit in units
        if not unit.fused
        and not (
            unit.runtime[0].endswith(".weight")
            and isinstance(names.module(unit.runtime[0]), _ADAPTABLE)
        )
    ]
    if fused or bare:
        raise PlanError(
            f"{few_names([*fused, *bare])}: no linear matrix of its own in the model, so no "
            "adapter fits",
            "leave it out of lora.matrices, or train it in full",
        )
    return {unit.stored[0]: module_of(unit.runtime[0]) for unit in units}


def _with_adapters(model: Any, lora: LoraSettings, modules: dict[str, str], seed: int) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        target_modules=_targets(model, sorted(set(modules.values()))),
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def _targets(model: Any, modules: list[str]) -> list[str] | str:
    """The modules as PEFT takes them: a list, or one expression where that would take more.

    PEFT matches lists against the ends of names, expressions against whole names; but of an
    expression it keeps only the last parts where transformers fuses experts.
    """
    endings = tuple(f".{name}" for name in modules)
    if any(name.endswith(endings) for name, _ in model.named_modules()):
        return "|".join(re.escape(name) for name in modules)
    return modules


def _carrier(adapter: str) -> str:
    """The base model's module that the adapter parameter named `adapter` belongs to."""
    return adapter.removeprefix("base_model.model.").split(".lora_")[0]


def _lowest_layer(model: Any, trained: dict[str, nn.Parameter], plan: Plan) -> int | None:
    embedding = model.get_input_embeddings().weight
    if any(parameter is embedding for parameter in trained.values()):
        return None  # also where a tied head was named
    return lowest_trained_layer(place_tensors(plan.reached), plan.reached)
