"""Answers to the planned questions: paired differences, their intervals, and what they show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from spectrum_ft.comparing.statistics import bootstrap_interval, crossed_interval, holm
from spectrum_ft.comparing.tables import METRICS, ArmTrials, MetricName, paired_tables
from spectrum_ft.records.comparisons import Asked, Contrast, Finding

LEVEL = 0.05
"""How often a difference may be claimed that is none, over all planned questions of a metric."""

FEWEST_SEEDS = 3
FEWEST_EXAMPLES = 100
FEWEST_STEPS = 30
"""Below these a comparison decides nothing, whatever its p values: conventions of ours."""

_LOWEST: Mapping[MetricName, float] = {"accuracy": -1.0, "loss": -math.inf}
"""The lowest difference that there could be; the highest is as far from 0."""

_HIGHER_IS_BETTER = {"accuracy": True, "loss": False}


def contrasts(arms: Mapping[str, ArmTrials], asked: Sequence[Asked]) -> list[Contrast]:
    """The answer to each question in each metric that was measured, accuracy first.

    p values are corrected for all questions of the metric. Questions about arms without trials,
    or without a seed in common, have no answer yet.
    """
    found: list[Contrast] = []
    for metric in METRICS:
        told = [
            contrast
            for question in asked
            if question.arm in arms and question.against in arms
            for contrast in _contrast(question, arms[question.arm], arms[question.against], metric)
        ]
        corrected = holm([contrast.p for contrast in told])
        found += [
            replace(contrast, p_adjusted=p, finding=_finding(contrast, p))
            for contrast, p in zip(told, corrected, strict=True)
        ]
    return found


def _contrast(
    asked: Asked, first: ArmTrials, second: ArmTrials, metric: MetricName
) -> list[Contrast]:
    """The contrast, not corrected yet; none where there is no pair of measurements."""
    tables = paired_tables(first, second, metric)
    if tables is None:
        return []
    table = tables[0] - tables[1]  # (seeds, examples)
    seeds, examples = table.shape
    enough = seeds >= 2 and examples >= 2
    interval = crossed_interval(table) if enough else None
    models = bootstrap_interval(table.mean(axis=0)) if examples >= 2 else (None, None)
    reason = _too_little(seeds, examples, [first, second])
    return [
        Contrast(
            asked=asked,
            metric=metric,
            difference=float(table.mean()),
            low=max(interval.low, _LOWEST[metric]) if interval else None,
            high=min(interval.high, -_LOWEST[metric]) if interval else None,
            p=interval.p if interval else None,
            p_adjusted=None,
            seeds=seeds,
            examples=examples,
            models_low=models[0],
            models_high=models[1],
            finding="cannot be told",
            reason=reason,
        )
    ]


def decisive(found: Sequence[Contrast]) -> list[Contrast]:
    """Those of `found` in the metric that decides: accuracy where it was measured, else loss."""
    metric = "accuracy" if any(contrast.metric == "accuracy" for contrast in found) else "loss"
    return [contrast for contrast in found if contrast.metric == metric]


def _finding(contrast: Contrast, p: float | None) -> Finding:
    if p is None or contrast.reason is not None:
        return "cannot be told"
    if p >= LEVEL:
        return "no difference shown"
    is_higher = contrast.difference > 0.0
    return "better" if is_higher == _HIGHER_IS_BETTER[contrast.metric] else "worse"


def _too_little(seeds: int, examples: int, pair: Sequence[ArmTrials]) -> str | None:
    """Why nothing can be told from these two arms, in words; None where something can.

    Seeds that came to nothing are not missing by chance: what is left of the arm says too much.
    """
    failed = [arm for arm in pair if any(trial.failure is not None for trial in arm.trials)]
    if failed:
        return f"since training of {' and '.join(arm.name for arm in failed)} came to nothing"
    steps = [trial.run.steps for arm in pair for trial in arm.trials if trial.run is not None]
    for count, least, what in (
        (seeds, FEWEST_SEEDS, "seed"),
        (examples, FEWEST_EXAMPLES, "question"),
        (min(steps, default=FEWEST_STEPS), FEWEST_STEPS, "step"),
    ):
        if count < least:
            return f"from {count:,} {what}s" if count != 1 else f"from one {what}"
    return None
