"""metrics.jsonl read again: whole, damaged, missing, or another run's."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from made_runs import write_run
from spectrum_ft.records.training import TrainRun, TrainStep
from spectrum_ft.tuning.runs.metrics import read_metrics
from spectrum_ft.tuning.runs.run_folder import read_run


@pytest.fixture
def run(tmp_path: Path) -> TrainRun:
    """A finished run of ten steps in the folder `run`, with no metrics yet."""
    return read_run(write_run(tmp_path / "run", tmp_path))


def a_line(step: int, **changes: object) -> str:
    """Step `step` as a line; the last one has seen the 100 tokens of the run."""
    fields = {"step": step, "epoch": step / 10, "loss": 2.0 - step / 10, "tokens": 10 * step}
    return msgspec.json.encode({**fields, "seconds": 0.1 * step, **changes}).decode() + "\n"


def evaluated(step: int, loss: float) -> str:
    return a_line(step, loss=None, eval_loss=loss)


WHOLE = "".join(a_line(step) for step in range(1, 11))


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_whole_course_is_read_and_evaluations_are_kept_apart(
    run: TrainRun, tmp_path: Path
) -> None:
    found = read_metrics(written(tmp_path, WHOLE + evaluated(10, 1.5)), run)
    assert found.fault is None
    assert [step.step for step in found.steps] == list(range(1, 11))
    assert found.steps[3].loss == pytest.approx(1.6, rel=1e-12)
    assert [(e.step, e.eval_loss) for e in found.evaluations] == [(10, 1.5)]


def test_a_step_that_was_done_again_counts_once_as_it_was_done_last(
    run: TrainRun, tmp_path: Path
) -> None:
    again = a_line(9, loss=0.5) + a_line(10, loss=0.25)
    found = read_metrics(written(tmp_path, WHOLE + again), run)
    assert [step.loss for step in found.steps[-2:]] == [0.5, 0.25]
    assert found.fault == "has lines that cannot be used: 2 of 12"


def test_what_is_missing_is_a_fault_and_no_error(run: TrainRun, tmp_path: Path) -> None:
    found = read_metrics(tmp_path / "metrics.jsonl", run)
    assert (found.steps, found.evaluations) == ((), ())
    assert found.fault == "is not beside the record"


DAMAGE = {
    "torn": WHOLE[:-20],
    "not json": WHOLE + "spectrum\n",
    "nan": WHOLE + '{"step": 5, "epoch": 1, "loss": NaN}\n',
    "infinite": WHOLE + '{"step": 5, "epoch": 1, "loss": 1e999}\n',
    "no number of ours": WHOLE + a_line(5, loss=1e300),
    "negative memory": WHOLE + a_line(5, memory_bytes=-1),
    "a step of text": WHOLE + a_line(1).replace('"step":1', '"step":"1"'),
    "a step that is none": WHOLE + a_line(0),
    "a step beyond the run": WHOLE + a_line(11),
    "deep": WHOLE + "[" * 100_000 + "\n",
    "neither loss": WHOLE + a_line(5, loss=None),
    "both losses": WHOLE + a_line(5, eval_loss=1.0),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_a_damaged_line_costs_itself_and_is_told_of(
    damage: str, run: TrainRun, tmp_path: Path
) -> None:
    found = read_metrics(written(tmp_path, DAMAGE[damage]), run)
    assert "cannot be used" in (found.fault or "")
    assert [step.step for step in found.steps] == list(range(1, 10 if damage == "torn" else 11))


def test_bytes_that_are_no_text_are_damage(run: TrainRun, tmp_path: Path) -> None:
    found = read_metrics(written(tmp_path, os.urandom(4096) + b"\n\xff\xfe\n"), run)
    assert found.steps == ()
    assert "tells nothing of 10 of 10 steps" in (found.fault or "")
    assert read_metrics(written(tmp_path, ""), run).fault == "tells nothing of 10 of 10 steps"


def test_the_metrics_of_another_run_are_not_taken_for_its_own(
    run: TrainRun, tmp_path: Path
) -> None:
    path = written(tmp_path, WHOLE)
    for other in (replace(run, tokens=101), replace(run, steps=9)):
        found = read_metrics(path, other)
        assert found.steps == ()
        assert found.fault == "tells of another run"


def test_a_folder_or_a_pipe_in_its_place_is_refused_without_waiting(
    run: TrainRun, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        assert "is of no use" in (read_metrics(path, run).fault or "")


def test_what_a_run_writes_is_what_is_read(run: TrainRun, tmp_path: Path) -> None:
    step = TrainStep(step=10, epoch=1.0, loss=0.1, lr=1e-5, tokens=100, seconds=1.5)
    text = msgspec.json.encode(step).decode() + "\n"
    assert read_metrics(written(tmp_path, text), run).steps == (step,)


def test_reading_them_loads_no_torch() -> None:
    code = "import sys, spectrum_ft.tuning.runs.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
