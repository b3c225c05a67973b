"""Interrupted at every step, a run ends as if nothing had happened, bit for bit."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spectrum_ft.errors import CheckpointError
from spectrum_ft.record_files import to_record
from spectrum_ft.records.training import START_SCHEMA, RunStart
from spectrum_ft.tuning.runs.manifests import write_manifest
from spectrum_ft.tuning.runs.run_checkpoints import RANDOMNESS
from spectrum_ft.tuning.runs.run_folder import START
from spectrum_ft.tuning.runs.step_folders import step_folder, verify_step
from spectrum_ft.tuning.training import prepare_training
from tiny_models import write_messages, write_tiny_llama

pytestmark = [
    pytest.mark.slow,
    # PEFT and TRL use what transformers is about to rename.
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]

PROGRAM = Path(__file__).with_name("interrupted_runs.py")
STEPS = 10


def runs(folder: Path, kind: str, *ways: str) -> "subprocess.CompletedProcess[str]":
    """What the program did that makes these runs."""
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), kind, *ways],
        capture_output=True,
        check=False,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=280,
    )


def codes(finished: "subprocess.CompletedProcess[str]") -> dict[str, list[int]]:
    assert finished.returncode == 0, finished.stderr
    found: dict[str, list[int]] = json.loads(finished.stdout)
    return found


def go_on(folder: Path, how: str) -> None:
    """Go on with an unfinished run in this process, by what its folder says of it."""
    start = folder / how / START
    begun = to_record(json.loads(start.read_text()), RunStart, START_SCHEMA, str(start))
    model = str(folder / "model")
    with prepare_training(model, begun.plan, begun.settings, folder / how) as training:
        training.run()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A tiny model with dropout, and data."""
    write_tiny_llama(tmp_path / "model", dropout=0.1)
    write_messages(tmp_path / "data.jsonl", 16)
    yield tmp_path
    shutil.rmtree(tmp_path / "model")


def metrics(run: Path) -> list[dict[str, Any]]:
    """What metrics.jsonl tells of each step, time and memory aside."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    apart = ("seconds", "memory_bytes")
    return [{k: v for k, v in json.loads(line).items() if k not in apart} for line in lines]


def contents(run: Path) -> dict[str, bytes]:
    """The bytes of the result's tensors."""
    files = sorted((run / "result").glob("*.safetensors"))
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        ("spectrum", ["stopped", "killed"]),
        ("hybrid", ["stopped", "killed"]),
        ("lora", ["stopped"]),
        ("stochastic", ["stopped"]),
    ],
)
def test_interrupted_in_every_step_a_run_is_the_same_bit_for_bit(
    folder: Path, kind: str, ways: list[str]
) -> None:
    found = codes(runs(folder, kind, "undisturbed", *ways))
    # One process for each step, and none of them was spared.
    assert found["undisturbed"] == [0]
    for how in ways:
        assert found[how] == [1 if how == "stopped" else -9] * (STEPS - 1) + [0]
        assert metrics(folder / how) == metrics(folder / "undisturbed")
        assert contents(folder / how) == contents(folder / "undisturbed")
    assert [line["step"] for line in metrics(folder / "undisturbed")] == [*range(1, STEPS + 1)]


def test_without_the_random_state_a_run_is_not_resumed(folder: Path) -> None:
    assert codes(runs(folder, "spectrum", "killed-once")) == {"killed-once": [-9]}
    run = folder / "killed-once"
    (kept,) = (run / "checkpoints").iterdir()
    run_id = json.loads((run / "start.json").read_text())["run_id"]
    for suffix in ("json", "safetensors"):
        (kept / f"{RANDOMNESS}.{suffix}").unlink()
    with pytest.raises(CheckpointError, match="randomness"):
        verify_step(kept, run_id)
    with pytest.raises(CheckpointError, match="no checkpoint is whole"):
        go_on(folder, "killed-once")
    # Even where somebody makes the manifest fit, resuming misses the file.
    (kept / "manifest.json").unlink()
    write_manifest(kept, run_id=run_id, step=1)
    verify_step(kept, run_id)
    with pytest.raises(CheckpointError, match=r"randomness\.json: is missing"):
        go_on(folder, "killed-once")
    assert step_folder(run / "checkpoints", 1) == kept
