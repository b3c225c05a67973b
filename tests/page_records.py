"""A record of every kind that there is a page of, written to a folder: small, but like real ones.

Scans are real ones of tiny checkpoints made on the spot; what a model would have to be trained for
is made by hand.
"""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save_file

from made_comparisons import a_comparison
from making import Floats, llama_values, write_llama
from spectrum_ft.diffing.diffing import diff
from spectrum_ft.environment import current_environment
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.plan_files import plan_to_yaml
from spectrum_ft.record_files import to_json
from spectrum_ft.records.evaluations import EvalSettings, Evaluation, Outcome
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.scan_forecasts import KindForecast, ScanForecast
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.records.training import Contract, DataSummary, TrainRun, TrainSettings, TrainStep
from spectrum_ft.scanning.scans import scan
from spectrum_ft.spectra.store import SpectraStore

STEPS = 60

KINDS = (
    *("scan", "mixture", "published", "plan", "run"),
    *("evaluation", "comparison", "diff", "forecast"),
)
"""The records that `write_records` writes."""


def write_records(folder: Path) -> dict[str, Path]:
    """The file of each record, or the folder for a run, by its name in `KINDS`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_llama(folder / "model", layers=8, seed=1)
    write_mixture(folder / "mixture")
    report = scanned(folder / "model")
    tuned = _tuned(folder, report)
    plan = make_plan(report, PlanRequest(preset="hybrid", share=0.25)).plan
    command = "spectrum plan scan.json --preset hybrid --top 25% -o plan.yaml"
    plan = replace(plan, command=command)
    files = {
        "scan.json": to_json(report),
        "mixture.json": to_json(scanned(folder / "mixture")),
        "published.json": json.dumps(a_published_result(report)),
        "plan.yaml": plan_to_yaml(plan),
        "evaluation.json": to_json(an_evaluation()),
        "comparison.json": to_json(a_comparison()),
        "diff.json": to_json(
            replace(
                diff(report, tuned, given=("model", "tuned")),
                command="spectrum diff model tuned -o diff.json",
            )
        ),
        "forecast.json": to_json(a_forecast(report)),
    }
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    write_run(folder / "run", a_run(plan, report))
    return {Path(name).stem: folder / name for name in (*files, "run")}


def scanned(model: Path) -> ScanReport:
    """The scan of the checkpoint in `model`, with nothing kept."""
    report = scan(str(model), store=SpectraStore(None))
    return replace(report, command=f"spectrum scan {model.name} -o scan.json")


def write_mixture(
    folder: Path, *, layers: int = 4, experts: int = 4, hidden: int = 64
) -> dict[str, Floats]:
    """The values of a tiny mixture of experts written to `folder`, a tensor for each expert."""
    chance = np.random.default_rng(7)
    dense = llama_values(layers=layers, hidden=hidden, seed=2)
    values = {name: value for name, value in dense.items() if ".mlp." not in name}
    for layer in range(layers):
        stem = f"model.layers.{layer}.mlp"
        values[f"{stem}.gate.weight"] = chance.standard_normal((experts, hidden), dtype=np.float32)
        for expert in range(experts):
            for kind in ("gate_proj", "up_proj", "down_proj"):
                taken = dense[f"{stem}.{kind}.weight"]
                noise = 0.005 * chance.standard_normal(taken.shape, dtype=np.float32)
                values[f"{stem}.experts.{expert}.{kind}.weight"] = taken + noise
    folder.mkdir(parents=True, exist_ok=True)
    table = {name: np.ascontiguousarray(value) for name, value in values.items()}
    save_file(table, folder / "model.safetensors", metadata={"format": "pt"})
    return values


def a_published_result(report: ScanReport) -> dict[str, object]:
    """What the published script writes of the same model: a score and a type for each matrix."""
    return {
        matrix.name.removesuffix(".weight"): {"snr": matrix.scores["snr"], "type": matrix.kind}
        for matrix in report.matrices
    }


def _tuned(folder: Path, report: ScanReport) -> ScanReport:
    """The scan of the same model after some of its matrices have been trained."""
    chance = np.random.default_rng(3)
    values = llama_values(layers=8, hidden=64, seed=1)
    moved = make_plan(report).plan.train
    changed = {
        name: values[name] + 0.01 * chance.standard_normal(values[name].shape, dtype=np.float32)
        for name in moved
    }
    write_llama(folder / "tuned", layers=8, seed=1, overrides=changed)
    return scanned(folder / "tuned")


def _data(source: str, rows: int) -> DataSummary:
    return DataSummary(
        source=source,
        digest="d" * 64,
        shape="conversations in `messages`",
        rows=rows,
        kept=rows - 2,
        truncated=3,
        dropped=2,
        tokens=91 * rows,
        learned_tokens=12 * rows,
        longest=412,
    )


def a_run(plan: Plan, report: ScanReport) -> TrainRun:
    """A run under `plan` of `STEPS` steps that trained weights and adapters."""
    assert plan.counts is not None
    counts, environment = plan.counts, current_environment("cpu")
    parts = (411_000_000, 92_000_000, 184_000_000, 57_000_000, 13_000_000)
    return TrainRun(
        source=report.model.source,
        base_folder=report.model.source,
        plan=plan,
        settings=TrainSettings(
            data="train.jsonl", eval_data="test.jsonl", max_steps=STEPS, lr=1e-4, batch_size=8
        ),
        contract=Contract(
            source=report.model.source,
            device="cpu",
            dtype="float32",
            precision="master",
            trained_tensors=len(plan.train),
            trained=counts.train,
            adapters=len(plan.adapted),
            adapter_weights=counts.lora,
            quantized=counts.frozen // 2,
            frozen=counts.frozen - counts.frozen // 2,
            total=counts.total,
            base=plan.base,
            lowest_layer=0,
            layers=report.model.layers,
            steps=STEPS,
            forecast=Forecast(
                device="cpu",
                moment="backward",
                weights_bytes=parts[0],
                gradients_bytes=parts[1],
                optimizer_bytes=parts[2],
                activations_bytes=parts[3],
                buffers_bytes=parts[4],
                total_bytes=sum(parts),
            ),
            available_bytes=8 * 2**30,
        ),
        data=_data("train.jsonl", 900),
        eval_data=_data("test.jsonl", 100),
        quantized=plan.adapted,
        adapted={name: name.removesuffix(".weight") for name in plan.adapted},
        steps=STEPS,
        result_step=STEPS,
        first_loss=4.2137,
        last_loss=0.8423,
        eval_loss=0.9164,
        moved=0.9973,
        moved_tensors={name: 0.999 - 0.001 * place for place, name in enumerate(plan.train)},
        seconds=214.6,
        tokens=43_680,
        peak_memory_bytes=1_263_000_000,
        imported_memory_bytes=520_000_000,
        result_bytes=57_344_000,
        environment=environment,
        command="spectrum train ./model --plan plan.yaml --data train.jsonl --eval test.jsonl "
        "--lr 1e-4 --batch-size 8 --max-steps 60 -o run",
    )


def steps_of(run: TrainRun) -> list[TrainStep]:
    """What metrics.jsonl tells of the course of `run`: each step, and three evaluations."""
    losses = _losses_of(run)
    steps: list[TrainStep] = []
    for step, loss in enumerate(losses, 1):
        warmed = min(1.0, step / 4) * 0.5 * (1 + math.cos(math.pi * step / run.steps))
        steps.append(
            TrainStep(
                step=step,
                epoch=step / 113,
                loss=loss,
                grad_norm=1.3,
                lr=run.settings.lr * warmed,
                lora_lr=run.settings.lora_lr * warmed,
                tokens=728 * step,
                seconds=run.seconds * step / run.steps,
                memory_bytes=min(run.peak_memory_bytes, 1_100_000_000 + 9_000_000 * step),
            )
        )
        if step % (run.steps // 3) == 0:
            held_out = loss * 1.1 if step < run.steps else run.eval_loss
            steps.append(TrainStep(step=step, epoch=step / 113, eval_loss=held_out))
    return steps


def _losses_of(run: TrainRun) -> list[float]:
    """A loss for each step, falling from the first of `run` to its last, the mean of a tenth."""
    noise = random.Random(5)
    span = run.first_loss - run.last_loss
    losses = [
        (run.last_loss + span * math.exp(-5 * step / run.steps)) * math.exp(noise.gauss(0.0, 0.1))
        for step in range(run.steps)
    ]
    losses[0], few = run.first_loss, run.steps // 10
    scale = run.last_loss * few / sum(losses[-few:])
    return [*losses[:-few], *(scale * loss for loss in losses[-few:])]


def write_run(folder: Path, run: TrainRun) -> Path:
    """The folder of the finished `run`, without its result."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(to_json(run), "utf-8")
    lines = [msgspec.json.encode(step).decode() for step in steps_of(run)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def an_outcome(number: int, *, right: bool) -> Outcome:
    """What became of question `number`."""
    return Outcome(
        place=f"test.jsonl, line {number}",
        expected="card_arrival",
        answer="card_arrival" if right else "lost_or_stolen_card",
        correct=right,
        samples=1,
        loss=0.4 if right else 2.5,
        tokens=5,
    )


def an_evaluation() -> Evaluation:
    """150 questions, of which 121 are answered as expected."""
    outcomes = tuple(an_outcome(number, right=number % 5 != 0) for number in range(1, 146))
    outcomes += tuple(an_outcome(number, right=True) for number in range(146, 151))
    return Evaluation(
        source="runs/spectrum-25",
        settings=EvalSettings(data="test.jsonl", general="general.txt"),
        data=_data("test.jsonl", 152),
        loss=sum(o.loss or 0.0 for o in outcomes) / sum(o.tokens for o in outcomes),
        exact_match=sum(bool(o.correct) for o in outcomes) / len(outcomes),
        choice_accuracy=None,
        samples=1.0,
        general_loss=3.01234,
        outcomes=outcomes,
        generated_tokens=1234,
        seconds=83.0,
        peak_memory_bytes=3 * 2**29,
        environment=current_environment("cpu"),
        command="spectrum eval runs/spectrum-25 --data test.jsonl --general general.txt",
    )


def a_forecast(report: ScanReport) -> ScanForecast:
    """What the scan of a model of 8 billion weights would take."""
    kinds = (("mlp.down_proj", (4096, 14336), 190.2), ("self_attn.q_proj", (4096, 4096), 88.7))
    return ScanForecast(
        model=replace(
            report.model,
            source="meta-llama/Llama-3.1-8B",
            revision="d04e592bb4f6aa9cfee91e2e20afa771667e1d4b",
            parameters=8_030_261_248,
            layers=32,
        ),
        matrices=224,
        skipped={"vector": 65, "outside the blocks (embedding)": 1},
        workers=2,
        seconds=702.4,
        unbounded_seconds=640.0,
        reading_seconds=31.5,
        gram_seconds=411.0,
        eigenvalues_seconds=820.9,
        again_seconds=130.1,
        memory_bytes=2_600_000_000,
        read_bytes=13_958_643_712,
        streamed=True,
        kinds=tuple(
            KindForecast(kind=kind, matrices=32, largest=shape, seconds=seconds)
            for kind, shape, seconds in kinds
        ),
        measured="2026-11-24",
        environment=current_environment("cpu"),
        command="spectrum scan meta-llama/Llama-3.1-8B --estimate",
    )
