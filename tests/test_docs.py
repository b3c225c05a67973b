"""The scripts in the documentation, run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from program import run_spectrum
from tiny_models import write_messages, write_tiny_llama

DOCS = Path(__file__).parents[1] / "docs"


def scripts(page: str) -> list[str]:
    """The Python scripts of a page."""
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)


SCRIPTS = scripts("training.md")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=["loop", "trl"])
def test_a_script_of_the_training_page_runs(script: str, tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "model")
    done = run_spectrum("plan", "model", "--top", "25%", "-o", "plan.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=variables,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    losses = [float(line.split()[1]) for line in ran.stdout.splitlines() if line[:1].isdigit()]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.slow
def test_the_script_of_the_comparing_page_runs(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "model")
    write_messages(tmp_path / "train.jsonl", 12)
    write_messages(tmp_path / "test.jsonl", 5)
    (script,) = scripts("comparing.md")
    ran = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        timeout=250,
    )
    assert ran.returncode == 0, ran.stderr
    assert "too small to decide anything" in ran.stdout
