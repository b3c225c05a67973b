"""The folder that a model trains from, and a plan told in that folder's names."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spectrum_ft.checkpoints.checkpoint import (
    PACKAGED_PREFIX,
    Checkpoint,
    fingerprint,
    open_checkpoint,
)
from spectrum_ft.checkpoints.hub import fetch_companions, fetch_from_hub, is_hub_id
from spectrum_ft.checkpoints.packaged import packaged_path
from spectrum_ft.errors import CheckpointError, PlanError, few_names
from spectrum_ft.records.plans import LoraSettings, Plan
from spectrum_ft.tuning.gguf_base import convert_gguf, gguf_names

CONFIG = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A model that can be trained: a transformers folder with safetensors weights."""

    source: str
    """What the user gave."""
    folder: Path
    """The folder: the model's own, the Hub cache's, or a GGUF's cached conversion."""
    checkpoint: Checkpoint
    """The folder's tensors."""
    source_fingerprint: str
    """The fingerprint of what the user gave, which a scan of it carries."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The folder's name for each tensor of a GGUF, where it was converted from one."""


def open_base(source: str) -> Base:
    """The folder that training of `source` starts from; a GGUF is converted once and cached.

    Raises `CheckpointError` where there is no such folder: a bare weight file, pickled weights, a
    folder without a config.
    """
    found = open_checkpoint(source)
    path = _path(source)
    if packed := sorted({entry.dtype for entry in found.entries if entry.packing}):
        raise CheckpointError(
            f"{ascii(source)[1:-1]}: its weights are quantized already ({', '.join(packed)})",
            "train the model that it was made from: a plan made from this one fits it",
        )
    gguf = _gguf_in(path)
    if gguf is not None:
        folder = convert_gguf(gguf)
        converted = open_checkpoint(str(folder))
        return Base(
            source=source,
            folder=folder,
            checkpoint=converted,
            source_fingerprint=fingerprint(found.entries),
            renamed=gguf_names(folder, [entry.name for entry in found.entries]),
        )
    if not path.is_dir():
        raise CheckpointError(
            f"{path}: a single weight file cannot be trained, its config is not known",
            "give the model's folder, with config.json and the tokenizer in it",
        )
    if not (path / CONFIG).is_file():
        raise CheckpointError(f"{path}: has no {CONFIG}", "give a complete transformers folder")
    return Base(
        source=source,
        folder=path,
        checkpoint=found,
        source_fingerprint=fingerprint(found.entries),
    )


def _path(source: str) -> Path:
    if source.startswith(PACKAGED_PREFIX):
        return packaged_path(source.removeprefix(PACKAGED_PREFIX))
    if not Path(source).exists() and is_hub_id(source):
        snapshot = fetch_from_hub(source)
        fetch_companions(snapshot)
        return snapshot.folder
    return Path(source)


def _gguf_in(path: Path) -> Path | None:
    """The GGUF file that `path` is, or is the folder of, where it has no other weights."""
    if path.suffix == ".gguf":
        return path
    if path.is_dir() and not (path / CONFIG).exists():
        return next(iter(sorted(path.glob("*.gguf"))), None)
    return None


def fit_plan(plan: Plan, base: Base) -> Plan:
    """`plan` in the names of the base's folder.

    Raises `PlanError` if it was made for another model. A plan without a fingerprint (an import)
    is told apart by its names alone, when it is applied.
    """
    made_for = plan.model.fingerprint
    own = fingerprint(base.checkpoint.entries)
    if made_for is not None and made_for not in (own, base.source_fingerprint):
        raise PlanError(
            f"the plan was made for {ascii(plan.model.source)[1:-1]} (fingerprint "
            f"{made_for[:12]}), this is {ascii(base.source)[1:-1]} "
            f"({base.source_fingerprint[:12]})",
            "scan and plan this model, or train the one that the plan was made for",
        )
    if base.source_fingerprint == own or made_for == own:
        return plan
    if lost := [name for name in plan.reached if name not in base.renamed]:
        raise PlanError(
            f"{few_names(lost)}: has no counterpart of its own in the converted model",
            f"scan and plan the conversion: {base.folder}",
        )
    return replace(
        plan,
        train=tuple(base.renamed.get(name, name) for name in plan.train),
        lora=_renamed(plan.lora, base.renamed) if plan.lora else None,
    )


def _renamed(lora: LoraSettings, names: Mapping[str, str]) -> LoraSettings:
    return replace(lora, matrices=tuple(names.get(name, name) for name in lora.matrices))


def read_config(folder: Path) -> Any:
    """The transformers config in `folder`; `CheckpointError` if there is no reading it."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError, TypeError, StrictDataclassError) as fault:
        raise CheckpointError(
            f"{folder}: its config is of no use to transformers ({str(fault).splitlines()[0]})",
            "upgrade transformers, or give a model of an architecture that it knows",
        ) from fault
    if getattr(config, "quantization_config", None) is not None:
        raise CheckpointError(
            f"{folder}: its weights are quantized already, which cannot be trained on",
            "give the original weights; --base nf4 quantizes them as they are loaded",
        )
    return config
