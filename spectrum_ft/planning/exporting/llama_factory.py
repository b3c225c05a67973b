"""LLaMA-Factory's settings, for `llamafactory-cli train settings.yaml`.

Its tuning with frozen parameters takes whole submodules (`self_attn`, `mlp`) of the first or the
last blocks, so it has no words for a plan that trains matrices. Adapters go on the modules in
`lora_target`, separated by commas; they are PEFT's, see `peft.py`.
"""

from collections.abc import Mapping
from typing import Any

from spectrum_ft.planning.exporting.names import module_names
from spectrum_ft.planning.exporting.settings import to_yaml, whole_alpha
from spectrum_ft.records.plans import Base, LoraSettings, Plan

_BASES: Mapping[Base, Mapping[str, Any]] = {
    "as-is": {},
    "nf4": {
        "quantization_method": "bnb",
        "quantization_bit": 4,
        "quantization_type": "nf4",
        "double_quantization": True,
    },
    "int8": {"quantization_method": "bnb", "quantization_bit": 8},
}
"""How the base is loaded."""


def adapt_by_llama_factory(plan: Plan, lora: LoraSettings) -> str:
    """The settings of its adapters, `lora_...`, and how the base is loaded."""
    return to_yaml(
        {
            "finetuning_type": "lora",
            **_BASES[plan.base],
            "lora_rank": lora.r,
            "lora_alpha": whole_alpha(lora),
            "lora_dropout": lora.dropout,
            "lora_target": ",".join(module_names(lora.matrices)),
        }
    )
