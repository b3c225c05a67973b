"""The outcomes of trials as tables of numbers, seeds by examples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spectrum_ft.comparing.statistics import Table, ratio_contributions
from spectrum_ft.records.comparisons import Trial
from spectrum_ft.records.evaluations import Evaluation, Outcome

MetricName = Literal["accuracy", "loss"]


@dataclass(frozen=True, kw_only=True)
class ArmTrials:
    """An arm and the trials that were made of it."""

    name: str
    """Its name."""
    trials: tuple[Trial, ...]
    """Those for the table, one a seed."""
    rates: tuple[Trial, ...] = ()
    """Those that its learning rate was chosen by."""


def _correct(outcome: Outcome) -> float | None:
    """1 for a right answer, 0 for a wrong one: the generated one, or else the choice."""
    told = outcome.correct if outcome.correct is not None else outcome.choice_correct
    return None if told is None else float(told)


def _accuracies(evaluations: Sequence[Evaluation]) -> Table | None:
    rows = [[_correct(outcome) for outcome in one.outcomes] for one in evaluations]
    if any(value is None for row in rows for value in row):
        return None
    return np.asarray(rows, dtype=np.float64)


def _losses(evaluations: Sequence[Evaluation]) -> Table | None:
    sums = np.asarray([[o.loss or 0.0 for o in one.outcomes] for one in evaluations])
    counts = np.asarray([[float(o.tokens) for o in one.outcomes] for one in evaluations])
    if not counts.sum(axis=1).all():
        return None
    return ratio_contributions(sums, counts)


METRICS: Mapping[MetricName, Callable[[Sequence[Evaluation]], Table | None]] = {
    "accuracy": _accuracies,
    "loss": _losses,
}
"""How each metric is read from evaluations of the same questions; None where it was not measured.

The mean of a row is the metric of that evaluation.
"""


def evaluations_of(arm: ArmTrials) -> dict[int, Evaluation]:
    """The evaluation of each seed."""
    return {t.seed: t.evaluation for t in arm.trials if t.evaluation is not None}


def table_of(arm: ArmTrials, metric: MetricName) -> Table | None:
    """The metric of `arm`, (seeds, examples); None where it was not measured."""
    evaluations = list(evaluations_of(arm).values())
    if not evaluations or not evaluations[0].outcomes:
        return None
    return METRICS[metric](evaluations)


def paired_tables(
    first: ArmTrials, second: ArmTrials, metric: MetricName
) -> tuple[Table, Table] | None:
    """The metric of both arms, for the seeds in common; None where there is none.

    An arm without anything random in it has one trial, which pairs with every seed of the other.
    """
    a, b = evaluations_of(first), evaluations_of(second)
    if _is_fixed(first):
        a = dict.fromkeys(b, next(iter(a.values()))) if a else {}
    if _is_fixed(second):
        b = dict.fromkeys(a, next(iter(b.values()))) if b else {}
    seeds = [seed for seed in a if seed in b]
    if not seeds:
        return None
    tables = METRICS[metric]([a[s] for s in seeds]), METRICS[metric]([b[s] for s in seeds])
    if tables[0] is None or tables[1] is None or tables[0].shape != tables[1].shape:
        return None
    return tables[0], tables[1]


def _is_fixed(arm: ArmTrials) -> bool:
    """Whether nothing in the arm is random: neither training nor examples nor sampling."""
    evaluation = next(iter(evaluations_of(arm).values()), None)
    return (
        len(arm.trials) == 1
        and evaluation is not None
        and arm.trials[0].run is None
        and evaluation.settings.few_shot == 0
        and evaluation.settings.votes == 1
    )
