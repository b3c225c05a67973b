"""What a finished run changed in its base: tensors that it trained, and adapters on top of others.

A result folder holds `trained.safetensors` under the checkpoint's names, and PEFT's own two files.
An adapter adds scale * B @ A, with A (r, n) and B (m, r), to a module that maps n values to m
(LoRA, arXiv 2106.09685, eq. 3). GPT-2's kind stores its matrices (n, m).
"""

import os.path
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from spectrum_ft.checkpoints.checkpoint import Checkpoint, read_bytes
from spectrum_ft.checkpoints.naming import natural_key, place_tensors
from spectrum_ft.checkpoints.safetensors_file import read_safetensors_header
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError, few_names
from spectrum_ft.record_files import parse_record, read_bytes_of
from spectrum_ft.records.training import TrainRun
from spectrum_ft.tuning.merges.dequantized import ROUNDINGS
from spectrum_ft.tuning.runs.run_folder import RECORD, read_run

TRAINED = "trained.safetensors"
ADAPTERS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"

_PEFT_PREFIX = "base_model.model."
# Settings of PEFT that change what an adapter adds; merging knows the plain kind.
_PLAIN: Mapping[str, tuple[object, ...]] = {
    "use_rslora": (False, None),
    "use_dora": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "bias": ("none", None),
    "modules_to_save": ([], None),
    "peft_type": ("LORA", None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What an adapter adds to one matrix of the checkpoint."""

    a: TensorEntry
    """Where A lies, (r, n)."""
    b: TensorEntry
    """Where B lies, (m, r)."""
    scale: float
    """What their product is multiplied by: alpha / r."""
    transposed: bool
    """Whether the checkpoint stores the matrix (n, m)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """All that a run changed, by the checkpoint's names."""

    trained: Mapping[str, TensorEntry]
    """The tensors that replace the base's."""
    adapters: Mapping[str, Adapter]
    """The adapters."""


def finished_run(run: Path) -> TrainRun:
    """The record of the finished run in the folder `run`.

    Raises `CheckpointError` if that is no run, or one that is not finished; `RecordError` if the
    record is damaged.
    """
    if not os.path.isdir(run):
        raise CheckpointError(f"{run}: no such folder", "give the folder that `train -o` wrote")
    if not os.path.isfile(run / RECORD):
        raise CheckpointError(
            f"{run}: holds no finished run (no {RECORD})",
            "run the same `spectrum train` command again: it goes on where it stopped",
        )
    return read_run(run)


def base_folder(run: TrainRun) -> Path:
    """The folder of the base that `run` started from; `CheckpointError` if it is not there."""
    folder = Path(run.base_folder).expanduser()
    if not os.path.isdir(folder):
        raise CheckpointError(
            f"{folder}: the base that the run started from is not there",
            f"put it back ({ascii(run.source)[1:-1][:120]})",
        )
    return folder


def stores_transposed(entries: Iterable[TensorEntry]) -> bool:
    """Whether a checkpoint stores its matrices (n, m), as GPT-2's does, told by their biases.

    A bias has as many entries as a matrix has outputs, and every module that stores its matrix
    this way has one.
    """
    shapes = {entry.name: entry.shape for entry in entries}
    sides = set()
    for name, shape in shapes.items():
        bias = shapes.get(f"{name.removesuffix('.weight')}.bias")
        if bias is not None and len(shape) == 2 and shape[0] != shape[1]:
            sides.add(bias == shape[1:])
    return sides == {True}


def read_delta(result: Path, run: TrainRun, checkpoint: Checkpoint, folder: Path) -> Delta:
    """What the run whose result is in `result` changed in the checkpoint of the base's `folder`.

    Raises `CheckpointError`, naming tensors, unless all of it fits: every tensor is in the base
    with its shape, everything the plan trains and adapts is there, and nothing else is.
    """
    base = {entry.name: entry for entry in checkpoint.entries}
    trained = _as_stored(_entries(result / TRAINED), checkpoint, folder)
    unknown = sorted(name for name in trained if name not in base)
    lacking = sorted(name for name in run.plan.train if name in base and name not in trained)
    for names, what in ((unknown, "are not in the base"), (lacking, "are missing")):
        if names:
            _misfit(result / TRAINED, f"{len(names)} trained tensors {what}: {few_names(names)}")
    for name, entry in trained.items():
        if entry.shape != base[name].shape:
            shapes = f"{list(entry.shape)}, in the base {list(base[name].shape)}"
            _misfit(result / TRAINED, f"{few_names([name])} is {shapes}")
    strange = sorted(name for name in run.quantized if name not in base)
    if strange or (run.quantized and run.plan.base not in ROUNDINGS):
        what = few_names(strange) if strange else run.plan.base
        _misfit(result.parent / RECORD, f"quantized what the base does not have: {what}")
    return Delta(trained=trained, adapters=_adapters(result, run, base))


def _as_stored(
    trained: Mapping[str, TensorEntry], base: Checkpoint, folder: Path
) -> dict[str, TensorEntry]:
    """`trained`, with tied embeddings and head under just the names that the base stores.

    It may store the head too, equal to the embeddings: if then only one is replaced they differ,
    and transformers takes that for a sign that they are not tied.
    """
    stored = {entry.name: entry for entry in base.entries}
    known = {**trained, **stored}
    places = place_tensors(sorted(known, key=natural_key))
    roles = {places[name].role: name for name in known if name.endswith(".weight")}
    pair = [roles[role] for role in ("embedding", "head") if role in roles]
    held = [name for name in pair if name in trained]
    in_base = [name for name in pair if name in stored]
    same_shape = len({known[name].shape for name in pair}) == 1
    if len(pair) != 2 or not held or not in_base or held == in_base or not same_shape:
        return dict(trained)
    contents = [read_bytes(stored[name]) for name in in_base]
    if not np.array_equal(contents[0], contents[-1]) or not _ties_its_head(folder):
        return dict(trained)
    others = {name: entry for name, entry in trained.items() if name not in pair}
    return others | dict.fromkeys(in_base, trained[held[0]])


def _ties_its_head(folder: Path) -> bool:
    from spectrum_ft.tuning.bases import read_config

    return bool(read_config(folder).get_text_config().tie_word_embeddings)


def _adapters(result: Path, run: TrainRun, base: Mapping[str, TensorEntry]) -> dict[str, Adapter]:
    path = result / ADAPTERS
    entries = _entries(path)
    lora = run.plan.lora
    if lora is None:
        if entries or run.adapted:
            _misfit(path, "holds adapters that the plan does not know")
        return {}
    config = _adapter_config(result / ADAPTER_CONFIG)
    if config.get("lora_alpha", lora.alpha) != lora.alpha:
        _misfit(result / ADAPTER_CONFIG, f"lora_alpha is not the plan's {lora.alpha:g}")
    # Where PEFT was told so, or the checkpoint shows it. A quantized layer is never told.
    transposed = config.get("fan_in_fan_out") is True or stores_transposed(base.values())
    adapters = {}
    for name, module in run.adapted.items():
        key = f"{_PEFT_PREFIX}{module}.lora_"
        a, b = (entries.pop(f"{key}{letter}.weight", None) for letter in "AB")
        if a is None or b is None:
            _misfit(path, f"lacks the adapter of {few_names([name])}")
        if name not in base:
            _misfit(path, f"adapts {few_names([name])}, which is not in the base")
        if len(a.shape) != 2 or len(b.shape) != 2 or (a.shape[0], b.shape[1]) != (lora.r, lora.r):
            _misfit(path, f"the adapter of {few_names([name])} does not have rank {lora.r}")
        straight = (b.shape[0], a.shape[1])  # outputs, inputs
        if base[name].shape not in (straight, straight[::-1]):
            _misfit(path, f"the adapter of {few_names([name])} has the shape of another matrix")
        is_square = straight == straight[::-1]
        adapters[name] = Adapter(
            a=a,
            b=b,
            scale=lora.alpha / lora.r,
            transposed=transposed if is_square else base[name].shape != straight,
        )
    if set(lora.matrices) != set(adapters):
        odd = sorted(set(lora.matrices) ^ set(adapters))
        _misfit(path, f"plan and run differ in what is adapted: {few_names(odd)}")
    if entries:
        _misfit(path, f"holds what no adapter of the run needs: {few_names(sorted(entries))}")
    return adapters


def _adapter_config(path: Path) -> dict[str, Any]:
    """PEFT's settings, once they are seen to be of the kind that can be merged here."""
    table = parse_record(read_bytes_of(str(path)), str(path))
    for key, plain in _PLAIN.items():
        if table.get(key) not in plain:
            raise CheckpointError(
                f"{path}: {key} is {ascii(table[key])[:60]}, which cannot be merged here",
                "merge it with PEFT's merge_and_unload",
            )
    return table


def _entries(path: Path) -> dict[str, TensorEntry]:
    if not os.path.lexists(path):
        return {}
    return {entry.name: entry for entry in read_safetensors_header(path)}


def _misfit(path: Path, what: str) -> NoReturn:
    raise CheckpointError(f"{path}: {what}", "was the base, or the run, changed since it trained?")
