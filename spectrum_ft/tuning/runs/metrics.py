"""metrics.jsonl read again: the course of a run, step by step.

Nothing that trains is imported here: reports read it too.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path

import msgspec

from spectrum_ft.checkpoints.file_reading import reading
from spectrum_ft.errors import CheckpointError
from spectrum_ft.records.training import TrainRun, TrainStep

_LARGEST = 3.5e38  # no loss, norm or rate of a run is above what float32 holds

_TOLERANCE = 1e-6  # of losses that are the same number, written twice

_MAX_BYTES = 512 * 2**20
"""Two million steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What is known of the course of a run."""

    steps: tuple[TrainStep, ...]
    """Training steps, in their order."""
    evaluations: tuple[TrainStep, ...]
    """Evaluations, in their order."""
    fault: str | None
    """Why it is not the whole course, as what is said of the file: `is not beside the record`. None
    where it is."""


def read_metrics(path: Path, run: TrainRun) -> Metrics:
    """The course of `run` as the file in `path` tells it.

    A file that is missing, damaged or another run's is a `fault`, not an error: the record stands
    for itself. Of a damaged one, what its whole lines tell is kept. Blank lines, and steps that
    were done again, are none.
    """
    if not os.path.exists(path):
        return _nothing("is not beside the record")
    try:
        with reading(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except CheckpointError as fault:
        return _nothing(f"is of no use: {fault.message.removeprefix(f'{path}: ')}")
    if len(data) > _MAX_BYTES:
        return _nothing(f"is larger than {_MAX_BYTES:,} bytes")
    lines = [line for line in data.splitlines() if line.strip()]
    parsed = [step for line in lines if (step := _step(line, run.contract.steps)) is not None]
    steps, evaluations = (
        _ordered([step for step in parsed if step.loss is not None]),
        _ordered([step for step in parsed if step.eval_loss is not None]),
    )
    if not (_steps_belong(steps, run) and _evaluations_belong(evaluations, run)):
        return _nothing("tells of another run")
    bad = len(lines) - len(parsed)
    lacking = run.steps - len(steps)
    faults = [f"has lines that cannot be used: {bad:,} of {len(lines):,}"] if bad else []
    faults += [f"tells nothing of {lacking:,} of {run.steps:,} steps"] if lacking else []
    if run.eval_loss is not None and not evaluations:
        faults.append("tells of no evaluation")
    return Metrics(steps=steps, evaluations=evaluations, fault=", and ".join(faults) or None)


def _nothing(fault: str) -> Metrics:
    return Metrics(steps=(), evaluations=(), fault=fault)


def _step(line: bytes, last: int) -> TrainStep | None:
    """The step in `line`; None where that makes no sense."""
    try:
        step = msgspec.json.decode(line, type=TrainStep)
    except (msgspec.DecodeError, RecursionError):
        return None
    numbers = (step.epoch, step.loss, step.grad_norm, step.lr, step.lora_lr, step.eval_loss)
    sums = (step.tokens, step.seconds, step.memory_bytes)
    if not all(abs(number) < _LARGEST for number in numbers if number is not None):
        return None
    if not all(0 <= number < _LARGEST for number in sums if number is not None):
        return None
    return (
        step if 1 <= step.step <= last and (step.loss is None) != (step.eval_loss is None) else None
    )


def _ordered(steps: list[TrainStep]) -> tuple[TrainStep, ...]:
    """Steps by number; of one that is told of twice, what was told last."""
    by_number = {step.step: step for step in steps}
    return tuple(by_number[number] for number in sorted(by_number))


def _steps_belong(steps: Sequence[TrainStep], run: TrainRun) -> bool:
    """Whether training steps can be those of `run`, as far as its record tells of them.

    None is after its last, the last one saw as many tokens and none saw more, and the losses of the
    first step and of the last tenth are what the record says. Clocks and counters of memory prove
    nothing: a peak that is read again may be a page lower.
    """
    if not steps:
        return True
    last = steps[-1]
    if last.step > run.steps or (last.step == run.steps and last.tokens != run.tokens):
        return False
    if any(step.tokens is not None and step.tokens > run.tokens for step in steps):
        return False
    losses = {step.step: step.loss for step in steps if step.loss is not None}
    tail = range(run.steps - max(1, run.steps // 10) + 1, run.steps + 1)
    if 1 in losses and not _same(losses[1], run.first_loss):
        return False
    if not all(step in losses for step in tail):
        return True
    return _same(sum(losses[step] for step in tail) / len(tail), run.last_loss)


def _evaluations_belong(evaluations: Sequence[TrainStep], run: TrainRun) -> bool:
    """Whether evaluations can be those of `run`: of the result, what the record says."""
    if run.eval_loss is None:
        return not evaluations
    losses = {step.step: step.eval_loss for step in evaluations}
    loss = losses.get(run.result_step)
    return loss is None or _same(loss, run.eval_loss)


def _same(one: float, other: float) -> bool:
    return isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
