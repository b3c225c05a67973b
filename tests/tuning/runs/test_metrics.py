"""metrics.jsonl read again: whole, damaged, missing, or another run's."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    """Step `step` as a line: the loss falls from 2 to 1, the last step has seen all 100 tokens."""
    loss = 2.0 - (step - 1) / 9
    fields = {"step": step, "epoch": step / 10, "loss": loss, "tokens": 10 * step}
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
    found = read_metrics(written(tmp_path, WHOLE + evaluated(10, 1.5)), replace(run, eval_loss=1.5))
    assert found.fault is None
    assert [step.step for step in found.steps] == list(range(1, 11))
    assert found.steps[3].loss == pytest.approx(2.0 - 3 / 9, rel=1e-12)
    assert [(e.step, e.eval_loss) for e in found.evaluations] == [(10, 1.5)]


def test_a_step_that_was_done_again_counts_as_it_was_done_last_and_is_no_damage(
    run: TrainRun, tmp_path: Path
) -> None:
    again = a_line(9, loss=0.5) + a_line(10, loss=0.25)
    found = read_metrics(written(tmp_path, WHOLE + again), replace(run, last_loss=0.25))
    assert [step.loss for step in found.steps[-2:]] == [0.5, 0.25]
    assert found.fault is None


def test_blank_lines_are_no_damage(run: TrainRun, tmp_path: Path) -> None:
    spaced = WHOLE.replace("\n", "\r\n\n \t\n") + "\n\n"
    assert read_metrics(written(tmp_path, spaced), run).fault is None


def test_evaluations_that_are_gone_are_told_of(run: TrainRun, tmp_path: Path) -> None:
    held_out = replace(run, eval_loss=1.5)
    assert read_metrics(written(tmp_path, WHOLE), held_out).fault == "tells of no evaluation"
    assert read_metrics(written(tmp_path, WHOLE), run).fault is None


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
    others: tuple[dict[str, Any], ...] = (
        *({"tokens": 101}, {"steps": 9}, {"first_loss": 2.01}, {"last_loss": 1.01}),
        {"tokens": 20, "steps": 11},
    )
    for other in (replace(run, **changes) for changes in others):
        found = read_metrics(path, other)
        assert found.steps == ()
        assert found.fault == "tells of another run"


def test_what_is_damaged_is_still_held_against_the_record(run: TrainRun, tmp_path: Path) -> None:
    lines = WHOLE.splitlines(keepends=True)
    middle = written(tmp_path, "".join(lines[1:-1]))
    assert len(read_metrics(middle, run).steps) == 8
    assert len(read_metrics(middle, replace(run, first_loss=9.0, last_loss=9.0)).steps) == 8
    assert read_metrics(middle, replace(run, tokens=20)).fault == "tells of another run"


def test_clocks_and_counters_of_memory_prove_nothing(run: TrainRun, tmp_path: Path) -> None:
    # A real run's metrics told of a peak one page above that of its record.
    peak = run.peak_memory_bytes + 4096
    lines = WHOLE.splitlines(keepends=True)
    path = written(tmp_path, "".join(lines[:4]) + a_line(5, memory_bytes=peak) + "".join(lines[5:]))
    assert read_metrics(path, replace(run, seconds=0.5)).fault is None


def test_the_last_loss_is_held_against_the_last_tenth_of_the_steps(
    run: TrainRun, tmp_path: Path
) -> None:
    losses = [3.0, *([2.0] * 27), 1.0, 0.25, 0.125]  # of 31 steps, the last tenth are three
    lines = [a_line(n, loss=loss, tokens=n, seconds=0.0) for n, loss in enumerate(losses, 1)]
    path = written(tmp_path, "".join(lines))
    of_31 = replace(
        run,
        contract=replace(run.contract, steps=31),
        steps=31,
        tokens=31,
        first_loss=3.0,
        last_loss=1.375 / 3,
    )
    assert read_metrics(path, of_31).fault is None
    assert read_metrics(path, replace(of_31, last_loss=0.125)).fault == "tells of another run"


def test_evaluations_of_another_run_are_not_taken_for_its_own(
    run: TrainRun, tmp_path: Path
) -> None:
    path = written(tmp_path, WHOLE + evaluated(5, 1.25) + evaluated(10, 1.5))
    assert read_metrics(path, run).fault == "tells of another run"  # it had no held-out data
    assert read_metrics(path, replace(run, eval_loss=1.25)).fault == "tells of another run"
    best = replace(run, eval_loss=1.25, result_step=5)
    assert read_metrics(path, best).fault is None


def test_a_folder_or_a_pipe_in_its_place_is_refused_without_waiting(
    run: TrainRun, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        assert "is of no use" in (read_metrics(path, run).fault or "")


def test_what_a_run_writes_is_what_is_read(run: TrainRun, tmp_path: Path) -> None:
    step = TrainStep(step=10, epoch=1.0, loss=1.0, lr=1e-5, tokens=100, seconds=0.5)
    text = msgspec.json.encode(step).decode() + "\n"
    assert read_metrics(written(tmp_path, text), run).steps == (step,)


def test_reading_them_loads_no_torch() -> None:
    code = "import sys, spectrum_ft.tuning.runs.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
