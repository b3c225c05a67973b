"""Trials made by hand: evaluations whose every outcome the test chose, and no training."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from spectrum_ft.comparing.tables import ArmTrials
from spectrum_ft.environment import current_environment
from spectrum_ft.records.comparisons import Trial
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.evaluations import EvalSettings, Evaluation, Outcome
from spectrum_ft.records.training import DataSummary, TrainRun

DATA = DataSummary(
    source="test.jsonl",
    digest="e",
    shape="prompts",
    rows=1,
    kept=1,
    truncated=0,
    dropped=0,
    tokens=1,
    learned_tokens=1,
    longest=1,
)
SETTINGS = EvalSettings(data="test.jsonl")
_ENVIRONMENT: list[Environment] = []


def environment() -> Environment:
    """This machine's, asked once."""
    if not _ENVIRONMENT:
        _ENVIRONMENT.append(current_environment("cpu"))
    return _ENVIRONMENT[0]


@cache  # thousands of simulated trials have the same few
def outcome(line: int, correct: bool | None, loss: float | None, tokens: int) -> Outcome:
    """How the question in that line went."""
    return Outcome(place=f"line {line}", expected="x", correct=correct, loss=loss, tokens=tokens)


def evaluation(
    correct: Sequence[Any] | None = None,
    losses: Sequence[float] | None = None,
    tokens: Sequence[int] | None = None,
    settings: EvalSettings = SETTINGS,
) -> Evaluation:
    """An evaluation in which each question went as told."""
    count = len(correct if correct is not None else losses or ())
    outcomes = tuple(
        outcome(
            i + 1,
            None if correct is None else bool(correct[i]),
            None if losses is None else float(losses[i]),
            0 if losses is None else (1 if tokens is None else tokens[i]),
        )
        for i in range(count)
    )
    return Evaluation(
        source="model",
        settings=settings,
        data=DATA,
        loss=None,
        exact_match=None if correct is None else float(np.mean(correct)),
        choice_accuracy=None,
        samples=None,
        general_loss=None,
        outcomes=outcomes,
        generated_tokens=0,
        seconds=1.0,
        peak_memory_bytes=1,
        environment=environment(),
        command="",
    )


def arm(
    name: str,
    evaluations: Sequence[Evaluation],
    runs: Sequence[TrainRun | None] = (),
) -> ArmTrials:
    """An arm with an evaluation for each of the seeds 0, 1, ..."""
    return ArmTrials(
        name=name,
        trials=tuple(
            Trial(
                arm=name,
                purpose="test",
                seed=seed,
                lr=1e-4,
                key=f"{name} {seed}",
                run=runs[seed] if runs else None,
                curve=(),
                evaluation=one,
                seconds=1.0,
            )
            for seed, one in enumerate(evaluations)
        ),
    )
