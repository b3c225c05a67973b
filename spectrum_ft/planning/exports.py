"""Plans in other tools' own words: which tools there are, and what each cannot say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spectrum_ft.errors import PlanError
from spectrum_ft.planning.exporting.axolotl import adapt_by_axolotl, train_by_axolotl
from spectrum_ft.planning.exporting.lists import train_by_list
from spectrum_ft.planning.exporting.llama_factory import adapt_by_llama_factory
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
        ),
        Export(
            name="ms-swift",
            meaning="ms-swift's settings",
            trained=train_by_ms_swift,
            adapted=adapt_by_ms_swift,
        ),
        Export(
            name="peft",
            meaning="PEFT's adapter_config.json, adapters only",
            adapted=adapt_by_peft,
            leaves_base=True,
        ),
        Export(
            name="pytorch",
            meaning="a Python file that freezes the rest of a model",
            trained=train_by_pytorch,
        ),
    )
}
"""Every export format, by name."""


def export_plan(plan: Plan, format: str) -> str:
    """`plan` in the format of that name, a key of `EXPORTS`.

    Tensors go by the names in the plan, those of the checkpoint, which are those of the loaded
    model too unless transformers renames them; `tuning.loaded_plans` makes that plan. Raises
    `PlanError` for what the format cannot say: nothing of a plan is left out without a word.
    """
    export = EXPORTS[format]
    if plan.lora is None:
        return _trained(plan, export)
    if export.adapted is None or plan.train:
        beside = " beside what trains in full" if export.adapted else ""
        raise PlanError(
            f"the format {export.name} knows no adapters{beside}",
            f"{_HERE}, or choose a preset {'with' if export.adapted else 'without'} adapters "
            f"{'alone' if export.adapted else ''}".rstrip(),
        )
    return export.adapted(plan, plan.lora)


def left_out(plan: Plan, format: str) -> str | None:
    """What the format leaves to whoever reads it, in a sentence; None for nothing."""
    if plan.base == "as-is" or not EXPORTS[format].leaves_base:
        return None
    return f"The format {format} does not say that the rest is kept in {plan.base}: load it so."


def _trained(plan: Plan, export: Export) -> str:
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
    return export.trained(plan)
