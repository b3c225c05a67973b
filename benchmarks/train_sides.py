"""The sides of the training benchmark: our program under a plan, and a script without it."""

import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from processes import run_child, run_python

TIGHT = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=262144"}

SPECTRUM = "import sys; from spectrum_ft_cli.main import main; sys.argv[0] = 'spectrum'; main()"

# What a user of TRL and PEFT writes, from their documentation; the labels are the completions.
PEER = """
import json, sys, time
import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from trl import SFTConfig, SFTTrainer

folder, data, four_bit, output, steps, batch, lr, max_length = sys.argv[1:]
quantization = BitsAndBytesConfig(
    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype=torch.float32,
)
options = {"quantization_config": quantization} if four_bit == "True" else {}
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
moments, losses = [], []

class Clock(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            moments.append(time.perf_counter())
            losses.append(logs["loss"])

trainer = SFTTrainer(
    model=model,
    args=SFTConfig(
        output_dir=output, max_steps=int(steps), per_device_train_batch_size=int(batch),
        learning_rate=float(lr), lr_scheduler_type="cosine", warmup_steps=0.03, weight_decay=0.0,
        max_length=int(max_length), use_cpu=True, bf16=False, gradient_checkpointing=False,
        optim="adamw_torch", seed=0, data_seed=0, save_strategy="no", report_to="none",
        logging_steps=1, disable_tqdm=True,
    ),
    train_dataset=load_dataset("json", data_files=data, split="train"),
    processing_class=AutoTokenizer.from_pretrained(folder),
    peft_config=LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"
    ),
    callbacks=[Clock()],
)
trainer.train()
print(json.dumps({"moments": moments, "losses": losses}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What one run took."""

    step_seconds: float
    """Median wall time of a step, the first two left out."""
    losses: tuple[float, ...]
    """Training loss of every step."""
    peak_mb: float
    """Peak memory of the process, in 10^6 bytes."""
    increment_mb: float | None = None
    """Peak memory beyond that of the imported libraries; ours only."""
    forecast_mb: float | None = None
    """The forecast of that; ours only."""
    result_mb: float | None = None
    """The result on disk; ours only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every side does."""

    folder: str
    """The model."""
    scan: Path
    """Its scan."""
    scratch: Path
    """Where runs may write."""
    steps: int
    """Optimizer steps."""
    batch_size: int
    """Rows a step takes."""
    max_length: int
    """The longest row in tokens."""
    tight: bool
    """Whether freed memory goes back to the system, which costs time and makes peaks exact."""


def write_data(path: Path, rows: list[dict[str, str]]) -> None:
    """Write `rows` (text, category) as conversations that both sides read the same tokens from."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            asked = {"role": "user", "content": row["text"]}
            told = {"role": "assistant", "content": row["category"]}
            file.write(json.dumps({"prompt": [asked], "completion": [told]}) + "\n")


def train_ours(task: Task, arm: str, lr: float) -> Trained:
    """The cost of `spectrum train` under the preset that `arm` names, PRESET[:PERCENT]."""
    preset, _, percent = arm.partition(":")
    plan, run = task.scratch / f"{preset}.yaml", task.scratch / f"{preset}-{percent}"
    share = ["--top", f"{percent}%"] if percent else []
    run_python_quietly("plan", str(task.scan), "--preset", preset, *share, "-o", str(plan))
    cost = run_python_quietly(
        *("train", task.folder, "--plan", str(plan), "--data", str(task.scratch / "train.jsonl")),
        *("--max-steps", str(task.steps), "--batch-size", str(task.batch_size)),
        *("--lr", str(lr), "--lora-lr", "2e-4", "--max-length", str(task.max_length)),
        *("--device", "cpu", "-o", str(run)),
        **(TIGHT if task.tight else {}),
    )
    record: dict[str, Any] = json.loads((run / "run.json").read_text())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    forecast = record["contract"]["forecast"]
    return Trained(
        step_seconds=_step_seconds([line["seconds"] for line in lines]),
        losses=tuple(line["loss"] for line in lines),
        peak_mb=cost,
        increment_mb=(record["peak_memory_bytes"] - record["imported_memory_bytes"]) / 1e6,
        forecast_mb=forecast["total_bytes"] / 1e6 if forecast else None,
        result_mb=record["result_bytes"] / 1e6,
    )


def run_python_quietly(*arguments: str, **variables: str) -> float:
    """Run our program; its peak memory in 10^6 bytes."""
    cost, _ = run_child([sys.executable, "-c", SPECTRUM, *arguments, "-q"], **variables)
    return cost.peak_mb


def train_peer(task: Task, *, four_bit: bool) -> Trained:
    """The cost of TRL's SFTTrainer with PEFT's LoRA on all linear matrices."""
    cost, found = run_python(
        PEER,
        *(
            task.folder,
            str(task.scratch / "train.jsonl"),
            str(four_bit),
            str(task.scratch / "peer"),
        ),
        *(str(task.steps), str(task.batch_size), "2e-4", str(task.max_length)),
    )
    return Trained(
        step_seconds=_step_seconds(found["moments"]),
        losses=tuple(found["losses"]),
        peak_mb=cost.peak_mb,
    )


def _step_seconds(moments: list[float]) -> float:
    return median(after - before for before, after in pairwise(moments[1:]))
