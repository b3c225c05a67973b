"""Plans in other tools' own words: which tools there are, and what each cannot say."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from spectrum_ft.errors import PlanError, few_names
from spectrum_ft.planning.exporting.axolotl import adapt_by_axolotl, train_by_axolotl
from spectrum_ft.planning.exporting.lists import train_by_list
from spectrum_ft.planning.exporting.llama_factory import adapt_by_llama_factory
from spectrum_ft.planning.exporting.loaded import (
    LoadedModel,
    head_alone,
    in_model,
    refuse_doubtful,
)
from spectrum_ft.planning.exporting.ms_swift import adapt_by_ms_swift, train_by_ms_swift
from spectrum_ft.planning.exporting.peft import adapt_by_peft
from spectrum_ft.planning.exporting.pytorch import train_by_pytorch
from spectrum_ft.records.plans import LoraSettings, Plan

_HERE = "train it with `spectrum train`, or in your own loop with spectrum_ft.apply_plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A format: what a tool is given, and which plans it has no words for."""

    name: str
    """Its name in options."""
    meaning: str
    """What it is, in a few words for help texts."""
    trained: Callable[[Plan], str] | None = None
    """A plan that trains matrices in full, in this format; None where it has no words for that."""
    adapted: Callable[[Plan, LoraSettings], str] | None = None
    """A plan of adapters alone; None likewise."""
    passes_over: bool = False
    """Whether the tool looks for names in a loaded model and goes on where one is not there."""
    leaves_base: bool = False
    """Whether whoever reads it loads the model, so that it says nothing of how the rest is kept."""


EXPORTS: Mapping[str, Export] = {
    export.name: export
    for export in (
        Export(
            name="axolotl",
            meaning="Axolotl's settings",
            trained=train_by_axolotl,
            adapted=adapt_by_axolotl,
            passes_over=True,
        ),
        Export(
            name="list",
            meaning="the trained tensors, one a line",
            trained=train_by_list,
            leaves_base=True,
        ),
        Export(
            name="llama-factory",
            meaning="LLaMA-Factory's settings, adapters only",
            adapted=adapt_by_llama_factory,
            passes_over=True,
        ),
        Export(
            name="ms-swift",
            meaning="ms-swift's settings",
            trained=train_by_ms_swift,
            adapted=adapt_by_ms_swift,
            passes_over=True,
        ),
        Export(
            name="peft",
            meaning="PEFT's adapter_config.json, adapters only",
            adapted=adapt_by_peft,
            leaves_base=True,
            passes_over=True,
        ),
        Export(
            name="pytorch",
            meaning="a Python file that freezes the rest of a model",
            trained=train_by_pytorch,
        ),
    )
}
"""Every export format, by name."""


def export_plan(
    plan: Plan,
    format: str,
    *,
    model: LoadedModel | None = None,
    stored: Collection[str] = (),
) -> str:
    """`plan` in the format of that name, a key of `EXPORTS`.

    Tensors go by the names in the plan, those of the checkpoint. Where the tool passes over names
    that the loaded model lacks, each is looked up in `model`, loaded as the tool loads it;
    `tuning.loaded_plans` gives a plan its names. Without a model, names that it might not have are
    refused; the more names of the checkpoint are in `stored`, such as a scan's `shapes`, the more
    is known of it. Raises `PlanError` for that and for what the format cannot say.
    """
    export = EXPORTS[format]
    write = _trained(plan, export) if plan.lora is None else _adapted(plan, plan.lora, export)
    if not export.passes_over:
        return write(plan)
    if model is not None:
        return write(in_model(plan, model))
    refuse_doubtful(plan, stored)
    return write(plan)


def left_out(plan: Plan, format: str) -> str | None:
    """What the format leaves to whoever reads it, in sentences; None for nothing.

    It speaks of an export without a model: with one, every name is known to be there.
    """
    export = EXPORTS[format]
    told = []
    if export.leaves_base and plan.base != "as-is":
        told.append(
            f"The format {format} does not say that the rest is kept in {plan.base}: load it so."
        )
    if export.passes_over:
        told.append(
            f"Names that the loaded model lacks are passed over by {format}: make the check in "
            "its recipe."
        )
        if heads := head_alone(plan):
            told.append(
                f"If the model ties its head to its embeddings, {few_names(heads)} is such a name "
                "and stays frozen: add --train-embeddings then."
            )
    return " ".join(told) or None


def _trained(plan: Plan, export: Export) -> Callable[[Plan], str]:
    if export.trained is None:
        raise PlanError(
            f"the format {export.name} has no words for matrices that train in full",
            f"{_HERE}, or plan adapters: --preset spectrum-qlora",
        )
    if plan.base != "as-is" and not export.leaves_base:
        raise PlanError(
            f"the format {export.name} cannot keep the rest in {plan.base} while matrices train "
            "in full",
            f"{_HERE}, or plan with --base as-is",
        )
    return export.trained


def _adapted(plan: Plan, lora: LoraSettings, export: Export) -> Callable[[Plan], str]:
    adapted = export.adapted
    if adapted is None or plan.train:
        beside = " beside what trains in full" if adapted else ""
        raise PlanError(
            f"the format {export.name} knows no adapters{beside}",
            f"{_HERE}, or choose a preset {'with' if adapted else 'without'} adapters "
            f"{'alone' if adapted else ''}".rstrip(),
        )
    return lambda named: adapted(named, lora)
