"""Trials of arms that trained, made by hand: a finished run beside chosen outcomes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from made_trials import DATA, arm, environment, evaluation
from spectrum_ft.comparing.tables import ArmTrials
from spectrum_ft.records.comparisons import CompareSettings, Trial
from spectrum_ft.records.evaluations import EvalSettings
from spectrum_ft.records.plans import LoraSettings, Plan, PlanModel, PlanPolicy
from spectrum_ft.records.training import Contract, TrainRun, TrainSettings

SETTINGS = CompareSettings(
    training=TrainSettings(data="train.jsonl", device="cpu"),
    evaluation=EvalSettings(data="test.jsonl"),
)
TRAINED = (
    "model.layers.1.mlp.down_proj.weight",
    "model.layers.3.mlp.down_proj.weight",
    "model.layers.3.self_attn.q_proj.weight",
)


def run(
    *,
    train: Sequence[str] = TRAINED,
    lora: bool = False,
    seed: int = 0,
    contract: dict[str, Any] | None = None,
    **changes: Any,
) -> TrainRun:
    """A finished run on a model of four blocks, with the values that the test chose."""
    adapters = LoraSettings(matrices=("a",), r=4, alpha=8.0, dropout=0.0) if lora else None
    made = TrainRun(
        source="model",
        base_folder="model",
        plan=Plan(
            model=PlanModel(source="model", fingerprint=None),
            train=tuple(train),
            lora=adapters,
            base="as-is",
            policy=PlanPolicy(name="spectrum", share=0.25, score="snr"),
        ),
        settings=TrainSettings(data="train.jsonl", device="cpu", dtype="float32", seed=seed),
        contract=replace(_CONTRACT, **(contract or {})),
        data=DATA,
        eval_data=None,
        quantized=(),
        adapted={},
        steps=100,
        result_step=100,
        first_loss=2.0,
        last_loss=1.0,
        eval_loss=None,
        moved=1.0,
        seconds=10.0,
        tokens=1000,
        peak_memory_bytes=10**9,
        imported_memory_bytes=10**8,
        result_bytes=10**7,
        environment=environment(),
        command="",
    )
    return replace(made, **changes)


_CONTRACT = Contract(
    source="model",
    device="cpu",
    dtype="float32",
    precision="master",
    trained_tensors=3,
    trained=1000,
    adapters=0,
    adapter_weights=0,
    quantized=0,
    frozen=3000,
    total=4000,
    base="as-is",
    lowest_layer=1,
    layers=4,
    steps=100,
    forecast=None,
    available_bytes=10**10,
)


def trained(
    name: str, correct: Sequence[Sequence[Any]], *, rates: Sequence[Trial] = (), **of_run: Any
) -> ArmTrials:
    """An arm that trained, with an answer sheet for each seed."""
    sheets = [evaluation(row) for row in correct]
    made = arm(name, sheets, [run(seed=seed, **of_run) for seed in range(len(sheets))])
    return replace(made, rates=tuple(rates))


def rate_trial(name: str, lr: float, loss: float) -> Trial:
    """A trial that a learning rate was chosen by."""
    return Trial(
        arm=name,
        purpose="rate",
        seed=0,
        lr=lr,
        key=f"{name} {lr}",
        run=run(eval_loss=loss),
        curve=(),
        evaluation=None,
        seconds=2.0,
    )


def sheet(right: int, of: int = 200) -> list[bool]:
    """Answers of which the first `right` are correct."""
    return [place < right for place in range(of)]
