"""The result of a run: trained tensors under the base's names, adapters as PEFT keeps them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spectrum_ft.checkpoints.checkpoint import read_tensor
from spectrum_ft.staging import staged
from spectrum_ft.tuning.applying import Applied
from spectrum_ft.tuning.bases import Base
from spectrum_ft.tuning.runs.manifests import write_manifest
from spectrum_ft.tuning.runs.run_checkpoints import write_trained
from spectrum_ft.tuning.runs.tensor_files import write_tensors


def write_result(folder: Path, applied: Applied, *, base: Base, run_id: str, step: int) -> None:
    """Write what `applied` trained into `folder`, which appears whole, by one rename.

    `trained.safetensors` holds the trained tensors as the base's checkpoint names and arranges
    them; `adapter_model.safetensors` and `adapter_config.json` are a PEFT adapter that
    `PeftModel.from_pretrained` loads onto the base. Either is absent where the plan has none.
    Raises `OutputError`.
    """
    hint = "make room there, then run the same command again"
    with staged(folder, hint=hint, when_taken="replace", abandoned_seconds=0) as staging:
        write_trained(staging, applied)
        if applied.adapters:
            _write_adapter(staging, applied.model, base)
        write_manifest(staging, run_id=run_id, step=step)


def _write_adapter(folder: Path, model: Any, base: Base) -> None:
    from peft import get_peft_model_state_dict

    (config,) = model.peft_config.values()
    config.base_model_name_or_path = base.source
    config.inference_mode = True
    config.save_pretrained(folder)
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    write_tensors(folder / "adapter_model.safetensors", tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """How much of what trains differs from what it started as."""

    share: float
    """The share of all of it, in [0, 1]."""
    by_tensor: dict[str, float]
    """The share of each tensor that trains in full, by checkpoint name."""


def moved_weights(applied: Applied, base: Base) -> Moved:
    """How much of the weights trained in full differs from the base's.

    Compared in the precision that they are trained in, one tensor of the base at a time. Where
    only adapters train: the share of adapter products that are not zero, which they start as.
    """
    if not applied.units:
        outputs = [p for name, p in applied.adapters.items() if "lora_B" in name]
        return Moved(
            share=_share(sum(int(p.count_nonzero()) for p in outputs), outputs), by_tensor={}
        )
    entries = {entry.name: entry for entry in base.checkpoint.entries}
    tensors = applied.trained_tensors()
    moved = {}
    for name, value in tensors.items():
        before = torch.from_numpy(read_tensor(entries[name])).to(value.dtype)
        moved[name] = int((before != value.cpu()).sum())
    return Moved(
        share=_share(sum(moved.values()), tensors.values()),
        by_tensor={name: _share(count, [tensors[name]]) for name, count in moved.items()},
    )


def _share(count: int, tensors: Iterable[Tensor]) -> float:
    total = sum(tensor.numel() for tensor in tensors)
    return count / total if total else 0.0


def folder_bytes(folder: Path) -> int:
    """The bytes of all files in `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
