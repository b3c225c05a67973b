"""ms-swift's settings, for `swift sft settings.yaml`.

Full tuning freezes the given share of the parameters first, 1 for all of them, then sets those to
train that `trainable_parameters_regex` is found in (`re.search`). The file's entries become
arguments of a command, and Linux bounds the length of one. Adapters are PEFT's; see `peft.py`.
"""

import re
from collections.abc import Mapping
from typing import Any

from spectrum_ft.errors import PlanError
from spectrum_ft.planning.exporting.names import module_names
from spectrum_ft.planning.exporting.settings import to_yaml, whole_alpha
from spectrum_ft.records.plans import Base, LoraSettings, Plan

_MAX_ARGUMENT = 128 * 2**10 - 1  # MAX_ARG_STRLEN of Linux, less its final zero

_BASES: Mapping[Base, Mapping[str, Any]] = {
    "as-is": {},
    "nf4": {"quant_method": "bnb", "quant_bits": 4},
    "int8": {"quant_method": "bnb", "quant_bits": 8},
}
"""How the base is loaded; its 4 bits are normal floats with double quantization, as ours are."""


def train_by_ms_swift(plan: Plan) -> str:
    """Full tuning with all frozen but the trained tensors, by one anchored expression."""
    names = "|".join(re.escape(name) for name in plan.train)
    expression = f"^(?:{names})$"
    if len(expression) > _MAX_ARGUMENT:
        raise PlanError(
            f"{len(plan.train):,} names make an expression of {len(expression):,} characters, and "
            f"an argument holds {_MAX_ARGUMENT:,}",
            "plan a smaller share, or train it with `spectrum train`",
        )
    return to_yaml(
        {
            "tuner_type": "full",
            "freeze_parameters_ratio": 1.0,
            "trainable_parameters_regex": expression,
        }
    )


def adapt_by_ms_swift(plan: Plan, lora: LoraSettings) -> str:
    """The settings of its adapters, `target_modules` and `lora_...`, and how the base is loaded."""
    return to_yaml(
        {
            "tuner_type": "lora",
            **_BASES[plan.base],
            "lora_rank": lora.r,
            "lora_alpha": whole_alpha(lora),
            "lora_dropout": lora.dropout,
            "target_modules": list(module_names(lora.matrices)),
        }
    )
