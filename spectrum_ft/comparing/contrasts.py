"""Answers to the planned questions: paired differences, their intervals, and what they show."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from spectrum_ft.compare_records import Asked, Contrast, Finding
from spectrum_ft.comparing.statistics import bootstrap_interval, crossed_interval, holm
from spectrum_ft.comparing.tables import METRICS, ArmTrials, MetricName, paired_tables

LEVEL = 0.05
"""How often a difference may be claimed that is none, over all planned questions of a metric."""

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
    return [
        Contrast(
            asked=asked,
            metric=metric,
            difference=float(table.mean()),
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            p=interval.p if interval else None,
            p_adjusted=None,
            seeds=seeds,
            examples=examples,
            models_low=models[0],
            models_high=models[1],
            finding="cannot be told",
        )
    ]


def _finding(contrast: Contrast, p: float | None) -> Finding:
    if p is None:
        return "cannot be told"
    if p >= LEVEL:
        return "no difference shown"
    is_higher = contrast.difference > 0.0
    return "better" if is_higher == _HIGHER_IS_BETTER[contrast.metric] else "worse"
