"""Plans under the names of a loaded model, for tools that freeze parameters by name."""

from dataclasses import replace
from typing import Any

from spectrum_ft.records.plans import Plan
from spectrum_ft.tuning.runtime_names import RuntimeNames


def loaded_plan(model: Any, plan: Plan) -> Plan:
    """`plan` with the names that the parameters of `model`, a transformers model, have.

    They differ from the checkpoint's where transformers renames or fuses tensors on load: the
    experts of a block become one or two parameters, named once. The result is for exports; plans
    for `apply_plan` keep the checkpoint's names. Raises `PlanError` as `RuntimeNames.units` does.
    """
    names = RuntimeNames(model)

    def renamed(stored: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for unit in names.units(stored) for name in unit.runtime)

    lora = plan.lora and replace(plan.lora, matrices=renamed(plan.lora.matrices))
    return replace(plan, train=renamed(plan.train), lora=lora)
