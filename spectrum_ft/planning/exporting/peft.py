"""PEFT's adapter_config.json, which `LoraConfig.from_pretrained(FOLDER)` reads.

PEFT takes a module whose name is an entry of `target_modules` or ends with a dot and an entry. With
whole names that is the module itself, in a model of its own and inside a larger one. An expression
would be stricter, but of one PEFT keeps only the last words where transformers fuses experts.
"""

import json

from spectrum_ft.planning.exporting.names import module_names
from spectrum_ft.records.plans import LoraSettings, Plan


def adapt_by_peft(plan: Plan, lora: LoraSettings) -> str:
    """The adapters' config as JSON. It says nothing of how the base is loaded."""
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": lora.r,
        "lora_alpha": int(lora.alpha) if lora.alpha.is_integer() else lora.alpha,
        "lora_dropout": lora.dropout,
        "bias": "none",
        "target_modules": list(module_names(lora.matrices)),
    }
    return json.dumps(config, indent=2) + "\n"
