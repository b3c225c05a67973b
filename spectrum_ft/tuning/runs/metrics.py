"""metrics.jsonl read again: the course of a run, step by step.

Nothing that trains is imported here: reports read it too.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from spectrum_ft.checkpoints.file_reading import reading
from spectrum_ft.errors import CheckpointError
from spectrum_ft.records.training import TrainRun, TrainStep

_LARGEST = 3.5e38  # no loss, norm or rate of a run is above what float32 holds

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
    for itself. Of a damaged one, what its whole lines tell is kept.
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
    lines = data.splitlines()
    parsed = [step for line in lines if (step := _step(line, run.contract.steps)) is not None]
    steps, evaluations = (
        _ordered([step for step in parsed if step.loss is not None]),
        _ordered([step for step in parsed if step.eval_loss is not None]),
    )
    if steps and not _belongs(steps, run):
        return _nothing("tells of another run")
    bad = len(lines) - len(steps) - len(evaluations)
    lacking = run.steps - len(steps)
    faults = [f"has lines that cannot be used: {bad:,} of {len(lines):,}"] if bad else []
    faults += [f"tells nothing of {lacking:,} of {run.steps:,} steps"] if lacking else []
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


def _belongs(steps: tuple[TrainStep, ...], run: TrainRun) -> bool:
    """Whether steps can be those of `run`: none after its last, which saw as many tokens."""
    last = steps[-1]
    return last.step < run.steps or (last.step == run.steps and last.tokens == run.tokens)
