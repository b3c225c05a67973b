"""Finished runs made by hand: what `train -o` leaves behind, with values that the test chose."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from spectrum_ft.environment import current_environment
from spectrum_ft.record_files import to_json
from spectrum_ft.records.plans import Base, LoraSettings, Plan, PlanModel, PlanPolicy
from spectrum_ft.records.training import Contract, DataSummary, TrainRun, TrainSettings
from spectrum_ft.tuning.runs.manifests import write_manifest
from spectrum_ft.tuning.runs.tensor_files import write_tensors

RANK, ALPHA = 4, 8.0

Factors = tuple[Tensor, Tensor]
"""A (r, n) and B (m, r)."""


def write_run(
    folder: Path,
    base: Path,
    *,
    trained: Mapping[str, Tensor] | None = None,
    adapters: Mapping[str, Factors] | None = None,
    keeping: Base = "as-is",
    quantized: Sequence[str] = (),
    dtype: str = "float32",
    source: str = "someone/tiny",
    adapter_settings: Mapping[str, object] | None = None,
) -> Path:
    """The folder of a run on the model in `base` that trained `trained` and these adapters.

    `quantized` are the matrices that it kept as `keeping`, from values in `dtype`.
    """
    trained, adapters = trained or {}, adapters or {}
    result = folder / "result"
    result.mkdir(parents=True)
    if trained:
        write_tensors(result / "trained.safetensors", trained)
    modules = {name: name.removesuffix(".weight") for name in adapters}
    if adapters:
        tensors = {
            f"base_model.model.{modules[name]}.lora_{letter}.weight": factor
            for name, factors in adapters.items()
            for letter, factor in zip("AB", factors, strict=True)
        }
        write_tensors(result / "adapter_model.safetensors", tensors)
        settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
        settings |= adapter_settings or {}
        (result / "adapter_config.json").write_text(json.dumps(settings))
    write_manifest(result, run_id="0123456789abcdef", step=10)
    lora = LoraSettings(matrices=tuple(adapters), r=RANK, alpha=ALPHA, dropout=0.0)
    plan = Plan(
        model=PlanModel(source=source, fingerprint=None),
        train=tuple(trained),
        lora=lora if adapters else None,
        base=keeping,
        policy=PlanPolicy(name="spectrum", share=0.25, score="snr"),
    )
    run = _record(base, plan, source, modules, tuple(quantized), dtype)
    (folder / "run.json").write_text(to_json(run))
    return folder


def _record(
    base: Path,
    plan: Plan,
    source: str,
    adapted: dict[str, str],
    quantized: tuple[str, ...],
    dtype: str,
) -> TrainRun:
    return TrainRun(
        source=source,
        base_folder=str(base),
        plan=plan,
        settings=TrainSettings(data="data.jsonl"),
        contract=Contract(
            source=source,
            device="cpu",
            dtype=dtype,
            precision="master",
            trained_tensors=len(plan.train),
            trained=1000,
            adapters=len(adapted),
            adapter_weights=0,
            quantized=0,
            frozen=3000,
            total=4000,
            base=plan.base,
            lowest_layer=0,
            layers=2,
            steps=10,
            forecast=None,
            available_bytes=10**9,
        ),
        data=DataSummary(
            source="/home/someone/data.jsonl",
            digest="d" * 64,
            shape="messages",
            rows=9,
            kept=8,
            truncated=0,
            dropped=1,
            tokens=100,
            learned_tokens=50,
            longest=20,
        ),
        eval_data=None,
        quantized=quantized,
        adapted=adapted,
        steps=10,
        result_step=10,
        first_loss=2.0,
        last_loss=1.0,
        eval_loss=None,
        moved=1.0,
        seconds=1.0,
        tokens=100,
        peak_memory_bytes=10**8,
        imported_memory_bytes=10**7,
        result_bytes=10**4,
        environment=current_environment("cpu"),
        command="spectrum train",
    )
