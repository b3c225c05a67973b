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
from spectrum_ft.tuning.runs.manifests import write_manifest
from spectrum_ft.tuning.runs.run_checkpoints import RANDOMNESS
from spectrum_ft.tuning.runs.step_folders import step_folder, verify_step
from tiny_models import write_messages, write_tiny_llama

PROGRAM = Path(__file__).with_name("interrupted_runs.py")
STEPS = 24


def start(how: str, folder: Path, kind: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), how, str(folder), kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def codes(process: "subprocess.Popen[str]") -> list[int]:
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    found: list[int] = json.loads(output)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A tiny model with dropout, and data."""
    write_tiny_llama(tmp_path / "model", dropout=0.1)
    write_messages(tmp_path / "data.jsonl")
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


@pytest.mark.slow
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
    runs = {how: start(how, folder, kind) for how in ("undisturbed", *ways)}
    found = {how: codes(process) for how, process in runs.items()}
    # One process for each step, and none of them was spared.
    assert found["undisturbed"] == [0]
    for how in ways:
        assert found[how] == [1 if how == "stopped" else -9] * (STEPS - 1) + [0]
        assert metrics(folder / how) == metrics(folder / "undisturbed")
        assert contents(folder / how) == contents(folder / "undisturbed")
    assert [line["step"] for line in metrics(folder / "undisturbed")] == [*range(1, STEPS + 1)]


@pytest.mark.slow
def test_without_the_random_state_a_run_is_not_resumed(folder: Path) -> None:
    process = start("killed-once", folder, "spectrum")
    assert codes(process) == [-9]
    run = folder / "killed-once"
    (kept,) = (run / "checkpoints").iterdir()
    run_id = json.loads((run / "start.json").read_text())["run_id"]
    for suffix in ("json", "safetensors"):
        (kept / f"{RANDOMNESS}.{suffix}").unlink()
    with pytest.raises(CheckpointError, match="randomness"):
        verify_step(kept, run_id)
    refused = start("killed-once", folder, "spectrum")
    _, errors = refused.communicate(timeout=280)
    assert refused.returncode != 0
    assert "no checkpoint is whole" in errors
    # Even where somebody makes the manifest fit, resuming misses the file.
    (kept / "manifest.json").unlink()
    write_manifest(kept, run_id=run_id, step=1)
    verify_step(kept, run_id)
    refused = start("killed-once", folder, "spectrum")
    _, errors = refused.communicate(timeout=280)
    assert "randomness.json: is missing" in errors
    assert step_folder(run / "checkpoints", 1) == kept
