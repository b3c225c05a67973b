"""A model to be looked at, not trained: as it stands, or as a finished run made it."""

import os.path
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file

from spectrum_ft.errors import CheckpointError, PlanError, few_names
from spectrum_ft.record_files import parse_record, read_bytes_of, to_record
from spectrum_ft.records.plans import Plan, PlanModel, PlanPolicy
from spectrum_ft.records.training import START_SCHEMA, RunStart, TrainRun
from spectrum_ft.tuning.applying import Applied, apply_plan
from spectrum_ft.tuning.bases import Base, open_base
from spectrum_ft.tuning.contracts import model_digest
from spectrum_ft.tuning.data.tokenizers import read_tokenizer
from spectrum_ft.tuning.devices import DTYPES
from spectrum_ft.tuning.loading import load_for_training
from spectrum_ft.tuning.merges.deltas import (
    ADAPTERS,
    TRAINED,
    base_folder,
    finished_run,
    read_delta,
)
from spectrum_ft.tuning.runs.manifests import verify_manifest
from spectrum_ft.tuning.runs.run_folder import RECORD, RESULT, START

_NOTHING = Plan(
    model=PlanModel(source="", fingerprint=None),
    train=(),
    policy=PlanPolicy(name="base", share=None, score=None),
)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model in memory and its tokenizer."""

    model: Any
    """The model: transformers' own, or PEFT's wrapper around it where there are adapters."""
    tokenizer: Any
    """Its tokenizer."""


def is_run(source: str) -> bool:
    """Whether `source` is the folder of a run, finished or not."""
    return os.path.isfile(Path(source) / RECORD) or os.path.isfile(Path(source) / START)


def open_tokenizer(source: str) -> Any:
    """The tokenizer of what `open_model` opens, without its weights."""
    return read_tokenizer(_base_of(source)[0].folder)


def open_model(
    source: str,
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
) -> Opened:
    """The model that `source` names, or the one that the finished run in that folder made.

    A run's model is packed as it was when it trained, with what was trained in the precision that
    it was kept in. Raises `CheckpointError` for a source that cannot be opened, for a run that is
    not finished, or was changed, and for a base that is not what the run started from.
    """
    base, run = _base_of(source)
    if run is not None:
        _refuse_changed(Path(source), base)
    place = _place(device)
    kept = DTYPES[_dtype(dtype, place, run)]
    plan = _NOTHING if run is None else run.plan
    loaded = load_for_training(base, plan, dtype=kept, device=place)
    if run is None:
        model = loaded.model
    else:
        applied = apply_plan(loaded.model, plan, precision=run.settings.precision)
        _read_result(Path(source) / RESULT, run, applied, base)
        model = applied.model
    model.eval()
    return Opened(model=model, tokenizer=read_tokenizer(base.folder))


def _base_of(source: str) -> tuple[Base, TrainRun | None]:
    if not is_run(source):
        return open_base(source), None
    run = finished_run(Path(source))
    return open_base(str(base_folder(run))), run


def _refuse_changed(run: Path, base: Base) -> None:
    """Raise `CheckpointError` if the base's weights are no longer those that the run began with."""
    path = str(run / START)
    if not os.path.isfile(path):
        return
    start = to_record(parse_record(read_bytes_of(path), path), RunStart, START_SCHEMA, path)
    if model_digest(base) != start.model_digest:
        raise CheckpointError(
            f"{base.folder}: is not what the run started from; weights or config have changed",
            "put the original back, or train again",
        )


def _place(device: Literal["auto", "cpu", "cuda"]) -> torch.device:
    if device == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("--device cuda: torch sees no CUDA GPU here", "leave --device out")
    use_gpu = device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda:0" if use_gpu else "cpu")


def _dtype(dtype: str, place: torch.device, run: TrainRun | None) -> str:
    if dtype != "auto":
        return dtype
    if run is not None:
        return run.contract.dtype
    return "bfloat16" if place.type == "cuda" else "float32"


def _read_result(result: Path, run: TrainRun, applied: Applied, base: Base) -> None:
    """Put what the run trained into the model; `CheckpointError` unless all of it fits."""
    verify_manifest(result)
    read_delta(result, run, base.checkpoint, base.folder)  # names and shapes
    try:
        if applied.units:
            applied.load_trained(load_file(result / TRAINED))
        if applied.adapters:
            _read_adapters(result, applied)
    except PlanError as fault:
        raise CheckpointError(f"{result}: {fault.message}", "train it again") from None


def _read_adapters(result: Path, applied: Applied) -> None:
    from peft import set_peft_model_state_dict

    found = set_peft_model_state_dict(applied.model, load_file(result / ADAPTERS))
    strange = [*found.unexpected_keys, *(k for k in found.missing_keys if "lora_" in k)]
    if strange:
        raise CheckpointError(
            f"{result / ADAPTERS}: does not fit the plan's adapters: {few_names(strange)}",
            "train it again",
        )
