"""The process of one trial: trains and evaluates one arm, and tells its parent how far it is.

    python -m spectrum_ft.comparing.trial_process FOLDER

FOLDER holds `job.json`; `trial.json` appears there when all is done. What is told goes to standard
output, one JSON object a line: steps done, questions asked, or an error. A process of its own has
a peak memory of its own.
"""

import ctypes
import json
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from spectrum_ft.comparing.jobs import JOB_SCHEMA, Job
from spectrum_ft.errors import SpectrumError, UnsoundRunError
from spectrum_ft.record_files import parse_record, read_bytes_of, to_json, to_record
from spectrum_ft.records.comparisons import CurvePoint, Trial
from spectrum_ft.records.evaluations import Evaluation
from spectrum_ft.records.training import TrainRun, TrainStep
from spectrum_ft.writing import write_file

JOB, TRIAL, RUN = "job.json", "trial.json", "run"
STOPPED = 130
"""The exit code of a process that was asked to stop, and has kept a checkpoint."""
REFUSED = 3
"""The exit code after an error that was explained in a message."""

_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h


class Tell(Protocol):
    """What tells the parent process something."""

    def __call__(self, **message: Any) -> None: ...


_Done = tuple[TrainRun | None, Evaluation | None, str | None]
"""The training, its evaluation, and why the training came to nothing, if it did."""


class _Interrupted(Exception):
    """The evaluation was asked to stop: it begins again the next time, the training does not."""


def main(folder: Path) -> int:
    """Do the job in `folder`; the exit code."""
    began = time.monotonic()
    tell = _own_output()
    warnings.simplefilter("default")  # libraries' warnings go into the log, whatever -W says
    asked_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_stop.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    _die_with_parent()
    parent = os.getppid()

    def should_stop() -> bool:
        return bool(asked_to_stop) or os.getppid() != parent

    file = str(folder / JOB)
    job = to_record(parse_record(read_bytes_of(file), file), Job, JOB_SCHEMA, file)
    sys.argv = shlex.split(job.command)  # what the records of its run name as their command
    try:
        done = _do(job, folder / RUN, tell, should_stop)
    except SpectrumError as error:
        tell(error=error.message, hint=error.hint)
        return REFUSED
    except _Interrupted:
        return STOPPED
    if done is None:
        return STOPPED
    run, evaluation, failure = done
    trial = Trial(
        arm=job.arm,
        purpose=job.purpose,
        seed=job.seed,
        lr=job.lr,
        key=job.key,
        run=run,
        curve=_curve(folder / RUN) if run else (),
        evaluation=evaluation,
        failure=failure,
        seconds=time.monotonic() - began,
    )
    write_file(folder / TRIAL, to_json(trial), force=True)
    return 0


def _do(job: Job, run_folder: Path, tell: Tell, should_stop: Callable[[], bool]) -> _Done | None:
    """What came of the job; None if it stopped before the end."""
    from spectrum_ft.tuning.runs.run_folder import RECORD, read_run

    if job.plan is None:
        return None, _evaluate_source(job, job.source, _counting(tell, should_stop)), None
    if (run_folder / RECORD).exists():  # it was stopped after training
        watch = _counting(tell, should_stop)
        evaluation = _evaluate_source(job, str(run_folder), watch) if job.evaluation else None
        return read_run(run_folder), evaluation, None
    try:
        return _train(job, run_folder, tell, should_stop)
    except UnsoundRunError as fault:  # an outcome like any other: this recipe does not work here
        return None, None, fault.message


def _train(job: Job, run_folder: Path, tell: Tell, should_stop: Callable[[], bool]) -> _Done | None:
    from spectrum_ft.tuning.training import Stopped, prepare_training

    assert job.plan is not None
    assert job.training is not None

    def watch(step: TrainStep) -> None:
        if step.loss is not None:
            tell(step=step.step, steps=training.contract.steps, loss=step.loss)

    with prepare_training(
        job.source, job.plan, job.training, run_folder, ignore_forecast=job.ignore_forecast
    ) as training:
        tell(step=0, steps=training.contract.steps)
        applied = training.load()
        try:
            run = training.train(applied, watch, should_stop)
        except Stopped:
            return None
        if job.evaluation is None:
            return run, None, None
        from spectrum_ft.evaluating.measuring import evaluate_model

        evaluation = evaluate_model(
            applied.model,
            training.prepared.tokenizer,
            job.evaluation,
            source=job.source,
            watch=_counting(tell, should_stop),
        )
        return run, evaluation, None


def _evaluate_source(job: Job, source: str, watch: Callable[[int, int], None]) -> Evaluation:
    from spectrum_ft.evaluating.measuring import evaluate

    assert job.evaluation is not None
    return evaluate(source, job.evaluation, watch=watch)


def _counting(tell: Tell, should_stop: Callable[[], bool]) -> Callable[[int, int], None]:
    """What tells how many questions are done, and stops once that is wanted."""

    def watch(done: int, of: int) -> None:
        tell(asked=done, questions=of)
        if should_stop():
            raise _Interrupted

    return watch


def _curve(run_folder: Path) -> tuple[CurvePoint, ...]:
    """The course of the run, as its metrics tell."""
    from spectrum_ft.tuning.runs.run_folder import METRICS

    points = []
    for line in (run_folder / METRICS).read_text("utf-8").splitlines():
        step = json.loads(line)
        if step.get("loss") is not None:
            points.append(CurvePoint(step=step["step"], seconds=step["seconds"], loss=step["loss"]))
    return tuple(points)


def _own_output() -> Tell:
    """What writes messages to standard output, which from now on nothing else writes to."""
    messages = os.dup(1)
    os.dup2(2, 1)  # libraries that print do so into the log

    def tell(**message: Any) -> None:
        os.write(messages, (json.dumps(message) + "\n").encode())

    return tell


def _die_with_parent() -> None:
    """Have the system end this process when its parent is killed, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
