"""The answers to a comparison's questions, as strings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from spectrum_ft.records.comparisons import Contrast
from spectrum_ft_reports.comparisons.bases import told_ends
from spectrum_ft_reports.comparisons.columns import NONE
from spectrum_ft_reports.parts.untrusted import printable

LONGEST_NAME = 200
"""The most characters of an arm's name that are shown."""


class Unit(NamedTuple):
    """How the figures of a metric are told."""

    metric: str
    """The metric."""
    title: str
    """The metric and its unit."""
    scale: float
    """What the record's figures are multiplied with."""
    form: str
    """The format of a difference."""
    noun: str
    """What a difference is counted in."""


UNITS: Mapping[Literal["accuracy", "loss"], Unit] = {
    "accuracy": Unit("accuracy", "accuracy, in points", 100.0, "+.1f", "points"),
    "loss": Unit("held-out loss", "held-out loss, in nats; less is better", 1.0, "+.4f", "nats"),
}
"""The unit of each metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastRow:
    """The answer to a question."""

    arm: str
    """The arm that it is about."""
    against: str
    """The arm that it is held against."""
    difference: str
    """The first less the second."""
    interval: str
    """Its 95 % interval."""
    p: str
    """The corrected p value."""
    models: str
    """The interval that holds for these very models."""
    finding: str
    """What it shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastGroup:
    """The answers in one metric."""

    title: str
    """The metric and its unit."""
    rows: tuple[ContrastRow, ...]
    """The answers."""


def contrast_groups(contrasts: Sequence[Contrast]) -> tuple[ContrastGroup, ...]:
    """The answers, a group for each metric that was measured."""
    groups = []
    for metric in dict.fromkeys(contrast.metric for contrast in contrasts):
        told = [contrast for contrast in contrasts if contrast.metric == metric]
        groups.append(ContrastGroup(title=UNITS[metric].title, rows=contrast_rows(told, metric)))
    return tuple(groups)


def contrast_rows(
    contrasts: Sequence[Contrast], metric: Literal["accuracy", "loss"]
) -> tuple[ContrastRow, ...]:
    """The answers in `metric`."""
    return tuple(_row(contrast, UNITS[metric]) for contrast in contrasts)


def _row(contrast: Contrast, unit: Unit) -> ContrastRow:
    def span(low: float | None, high: float | None) -> str:
        ends = told_ends(low, high)
        if ends is None:
            return NONE
        return f"{unit.scale * ends.low:{unit.form}} to {unit.scale * ends.high:{unit.form}}"

    return ContrastRow(
        arm=printable(contrast.asked.arm, LONGEST_NAME),
        against=printable(contrast.asked.against, LONGEST_NAME),
        difference=f"{unit.scale * contrast.difference:{unit.form}}",
        interval=span(contrast.low, contrast.high),
        p=NONE if contrast.p_adjusted is None else f"{contrast.p_adjusted:.2g}",
        models=span(contrast.models_low, contrast.models_high),
        finding=contrast.finding,
    )
