"""What the intervals of a comparison are of: which of them tell anything, and over what."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from spectrum_ft.records.comparisons import ArmResult, Contrast, Estimate
from spectrum_ft_reports.parts.facts import Fact

_OF_QUESTIONS = "over questions only, of these very models"


class Ends(NamedTuple):
    """The ends of an interval."""

    low: float
    """The lower one."""
    high: float
    """The upper one."""


def told_ends(low: float | None, high: float | None) -> Ends | None:
    """The ends of an interval; None where it tells nothing.

    One without width would read as certainty: it comes of values that are all alike, which says
    little where they are few.
    """
    if low is None or high is None or math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12):
        return None
    return Ends(low, high)


def ends_of(estimate: Estimate | None) -> Ends | None:
    """The interval of a mean; None where there is none that tells anything."""
    return None if estimate is None else told_ends(estimate.low, estimate.high)


def is_of_questions(estimate: Estimate) -> bool:
    """Whether the interval is over questions only: of one seed, or of answers all alike."""
    return len(estimate.values) == 1 or set(estimate.values) in ({0.0}, {1.0})


def estimates_of(arms: Iterable[ArmResult]) -> list[Estimate]:
    """The means of arms that have an interval."""
    means = [mean for arm in arms for mean in (arm.accuracy, arm.loss)]
    return [mean for mean in means if mean is not None and ends_of(mean) is not None]


def basis(estimates: Sequence[Estimate]) -> str:
    """What their intervals are over, in a few words: `over seeds and questions`."""
    single = [mean for mean in estimates if is_of_questions(mean)]
    if len(single) == len(estimates):
        return _OF_QUESTIONS
    if not single:
        return "over seeds and questions"
    return f"over seeds and questions ({_whose(single)} {_OF_QUESTIONS})"


def _whose(single: Sequence[Estimate]) -> str:
    """Which arms have an interval over questions only."""
    lone = any(len(mean.values) == 1 for mean in single)
    alike = any(len(mean.values) > 1 for mean in single)
    which = ["with one seed"] * lone + ["that is always right or always wrong"] * alike
    return f"of an arm {' or '.join(which)}"


_NEW_SEEDS = (
    "if the whole comparison were made again and again with new seeds and new questions of the "
    "same kind, at least about 95 of 100 such intervals would hold the true value."
)
_NEW_QUESTIONS = (
    "if these very models were asked new questions of the same kind again and again, about 95 of "
    "100 such intervals would hold their true value. What other seeds would give lies outside of "
    "what it tells."
)
_ALIKE = (
    "where the difference is the same in every question, as where two arms answer all of them "
    "alike: it would have no width and look certain."
)
_ZERO = " An interval of a difference that holds 0 leaves open which arm is better."


def explained(arms: Sequence[ArmResult], contrasts: Sequence[Contrast]) -> tuple[Fact, ...]:
    """What the 95 % intervals of arms and of differences mean, each as far as there are any."""
    estimates = estimates_of(arms)
    single = [mean for mean in estimates if is_of_questions(mean)]
    differs = any(told_ends(contrast.low, contrast.high) for contrast in contrasts)
    found = []
    if differs or len(single) < len(estimates):
        found.append(Fact("95 % interval", _NEW_SEEDS + _ZERO * differs))
    if single:
        which = f" {_whose(single)}" if found else ""
        found.append(Fact(f"95 % interval{which}", _NEW_QUESTIONS))
    if _without_width(contrasts):
        found.append(Fact("no interval", f"none is shown {_ALIKE}"))
    return tuple(found)


class ColumnNote(NamedTuple):
    """How to read columns of the answers."""

    columns: tuple[str, ...]
    """Their titles."""
    text: str
    """What to know, in a sentence."""


def column_notes(contrasts: Sequence[Contrast]) -> tuple[ColumnNote, ...]:
    """How to read the answers: a sentence for whatever there is in them."""
    spans = [(contrast.low, contrast.high) for contrast in contrasts]
    models = [(contrast.models_low, contrast.models_high) for contrast in contrasts]
    notes = []
    if any(contrast.p_adjusted is not None for contrast in contrasts):
        text = "p is corrected for all planned questions of its metric (Holm)."
        notes.append(ColumnNote(("p",), text))
    if any(told_ends(*ends) for ends in spans):
        text = "The 95 % interval is over seeds and questions."
        notes.append(ColumnNote(("95 % interval",), text))
    if any(told_ends(*ends) for ends in models):
        text = (
            'The interval under "these models" is a bootstrap over questions: of these very '
            "models, not of new seeds."
        )
        notes.append(ColumnNote(("these models",), text))
    if _without_width(contrasts):
        text = f"No interval is shown {_ALIKE}"
        notes.append(ColumnNote(("95 % interval", "these models"), text))
    return tuple(notes)


def _without_width(contrasts: Sequence[Contrast]) -> bool:
    """Whether any interval is kept back because it has no width."""
    return any(
        low is not None and told_ends(low, high) is None
        for contrast in contrasts
        for low, high in (
            (contrast.low, contrast.high),
            (contrast.models_low, contrast.models_high),
        )
    )
