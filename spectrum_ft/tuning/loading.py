"""Loading a model for training under a plan: what does not train may be kept in 4 or 8 bits."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from spectrum_ft.checkpoints.checkpoint import read_tensor
from spectrum_ft.checkpoints.naming import natural_key
from spectrum_ft.errors import CheckpointError, PlanError, few_names
from spectrum_ft.records.plans import Base as Keeping
from spectrum_ft.records.plans import Plan
from spectrum_ft.tuning.applying import Applied
from spectrum_ft.tuning.bases import Base, read_config
from spectrum_ft.tuning.gguf_base import quiet_transformers
from spectrum_ft.tuning.runtime_names import RuntimeNames, module_of, stored_names


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in memory, and which of its matrices are packed."""

    model: Any
    """The transformers model."""
    quantized: tuple[str, ...]
    """The matrices kept in 4 or 8 bits, by checkpoint name, in natural order."""


def load_for_training(
    base: Base, plan: Plan, *, dtype: torch.dtype, device: torch.device
) -> Loaded:
    """The model in `base`, with everything that `plan` does not train kept as its `base` says.

    `dtype` is that of all unquantized weights, and of the arithmetic. Under `nf4` (QLoRA's 4-bit
    normal floats with double quantization, arXiv 2305.14314) and `int8` the linear matrices that
    do not train are packed, and so is nothing that transformers keeps out by default: the head
    and whatever is tied to it. Raises `CheckpointError` if the folder lacks tensors of the model.
    """
    from transformers import AutoModelForCausalLM

    config = read_config(base.folder)
    kept_out = _kept_out(_empty_model(config), plan) if plan.base != "as-is" else []
    options: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    if plan.base != "as-is":
        options["quantization_config"] = _quantization(plan.base, kept_out, dtype)
    try:
        with quiet_transformers():
            model, found = AutoModelForCausalLM.from_pretrained(
                base.folder,
                config=config,
                dtype=dtype,
                output_loading_info=True,
                local_files_only=True,
                trust_remote_code=False,
                **options,
            )
    except (ValueError, OSError, KeyError, TypeError, RuntimeError) as fault:
        raise CheckpointError(
            f"{base.folder}: transformers cannot load it ({str(fault).splitlines()[0]})",
            "give a causal language model that transformers knows",
        ) from fault
    # transformers fills what a folder lacks with random numbers and only logs it.
    lacking = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
    if lacking:
        raise CheckpointError(
            f"{base.folder}: {len(lacking)} of the model's tensors are missing or of another "
            f"shape: {few_names(lacking)}",
            "download the checkpoint again",
        )
    if plan.base != "as-is":
        _let_go_of_files(model)
    packed = [name for name, p in model.named_parameters() if not p.is_floating_point()]
    table = stored_names(RuntimeNames(model), (e.name for e in base.checkpoint.entries))
    quantized = sorted((n for name in packed for n in table[name]), key=natural_key)
    _prove_packed(model, plan, kept_out)
    return Loaded(model=model, quantized=tuple(quantized))


def _let_go_of_files(model: Any) -> None:
    """Copy what was not packed, which would otherwise keep the whole mapped file in memory."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.clone()


def planned_quantized(base: Base, plan: Plan) -> tuple[str, ...]:
    """The matrices that `load_for_training` will pack, by checkpoint name, in natural order."""
    if plan.base == "as-is":
        return ()
    model = _empty_model(read_config(base.folder))
    kept_out = _kept_out(model, plan)
    packed = [f"{name}.weight" for name in _linear_modules(model, kept_out)]
    table = stored_names(RuntimeNames(model), (e.name for e in base.checkpoint.entries))
    return tuple(sorted((n for name in packed for n in table[name]), key=natural_key))


def read_masters(applied: Applied, base: Base) -> None:
    """Read the trained tensors again where their float32 parameters were loaded through 16 bits.

    A float32 checkpoint in a bfloat16 model would otherwise start from rounded masters.
    """
    entries = {entry.name: entry for entry in base.checkpoint.entries}
    wanted = [name for unit in applied.units for name in unit.stored]
    tensors = {name: torch.from_numpy(read_tensor(entries[name])) for name in wanted}
    applied.load_trained(tensors)


def _quantization(keeping: Keeping, kept_out: Sequence[str], dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if keeping == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(kept_out))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(kept_out),
    )


def _empty_model(config: Any) -> Any:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def _kept_out(model: Any, plan: Plan) -> list[str]:
    """Patterns of the modules that stay unquantized: the trained ones, and the defaults.

    A list of one's own replaces transformers' defaults, so they are asked for and added; entries
    are regular expressions, so names are escaped and anchored.
    """
    from transformers.quantizers.base import get_keys_to_not_convert

    units = RuntimeNames(model).units(plan.train) if plan.train else []
    modules = {module_of(name) for unit in units for name in unit.runtime}
    defaults: list[str] = get_keys_to_not_convert(model)
    return [*(f"{re.escape(name)}$" for name in sorted(modules)), *defaults]


def _linear_modules(model: Any, kept_out: Sequence[str]) -> list[str]:
    """The modules that bitsandbytes would pack; not 3-D expert parameters, which it cannot."""
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.quantizers_utils import should_convert_module

    return [
        name
        for name, module in model.named_modules()
        if type(module) in (nn.Linear, Conv1D) and should_convert_module(name, list(kept_out))
    ]


def _prove_packed(model: Any, plan: Plan, kept_out: Sequence[str]) -> None:
    head = model.get_output_embeddings()
    if head is not None and not head.weight.is_floating_point():
        raise PlanError("the head was loaded in 4 or 8 bits, which costs accuracy everywhere")
    missed = _linear_modules(model, kept_out) if plan.base != "as-is" else []
    if missed:
        raise PlanError(f"the plan wants these in {plan.base}, they were not: {few_names(missed)}")


@contextmanager
def as_unquantized(model: Any) -> Iterator[None]:
    """Hide that `model` is quantized from a Trainer that would refuse it, or cast its masters.

    transformers refuses to train a quantized model without PEFT's adapters, and TRL casts what
    trains in one to bfloat16. Both guard against training packed weights; `prove_plan` does that
    more strictly, so nothing is lost by stepping around them while a Trainer is built.
    """
    hidden = {
        name: getattr(model, name)
        for name in ("is_loaded_in_4bit", "is_loaded_in_8bit", "is_quantized")
        if getattr(model, name, False)
    }
    for name in hidden:
        setattr(model, name, False)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(model, name, value)
