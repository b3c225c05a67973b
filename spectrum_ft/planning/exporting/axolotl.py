"""Axolotl's settings.

It compiles the entries of `unfrozen_parameters` after putting a backslash before each dot, matches
them from the start of a parameter's name (`re.match`), and reads an index in brackets at the end
as a range of rows. So dots stand as they are, everything else is escaped, and `$` ends an entry.
Adapters are PEFT's; see `peft.py`.
"""

import re
from collections.abc import Mapping
from typing import Any

from spectrum_ft.planning.exporting.names import module_names
from spectrum_ft.planning.exporting.settings import to_yaml, whole_alpha
from spectrum_ft.records.plans import Base, LoraSettings, Plan

_BASES: Mapping[Base, Mapping[str, Any]] = {
    "as-is": {"adapter": "lora"},
    "nf4": {"adapter": "qlora", "load_in_4bit": True},
    "int8": {"adapter": "lora", "load_in_8bit": True},
}
"""How the base is loaded; its 4 bits are normal floats with double quantization, as ours are."""


def train_by_axolotl(plan: Plan) -> str:
    """`unfrozen_parameters`: one pattern for each trained tensor, matching it and no other."""
    patterns = [f"^{_escaped(name)}$" for name in plan.train]
    return to_yaml({"unfrozen_parameters": patterns})


def adapt_by_axolotl(plan: Plan, lora: LoraSettings) -> str:
    """The settings of its adapters, `adapter` and `lora_...`, and how the base is loaded."""
    return to_yaml(
        {
            **_BASES[plan.base],
            "lora_r": lora.r,
            "lora_alpha": whole_alpha(lora),
            "lora_dropout": lora.dropout,
            "lora_target_modules": list(module_names(lora.matrices)),
        }
    )


def _escaped(name: str) -> str:
    return ".".join(re.escape(part) for part in name.split("."))
