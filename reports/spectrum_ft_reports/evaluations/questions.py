"""The questions of an evaluation and what was answered, as strings."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from spectrum_ft.records.evaluations import Outcome
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable

NONE = "-"
"""What stands where there is nothing to say."""

MOST_QUESTIONS = 1_000
"""Questions that are listed: more make a page slow, and nobody reads them."""

_RIGHT = {True: "right", False: "wrong", None: NONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRow:
    """A question."""

    place: str
    """Where it stands in the data."""
    expected: str
    """The expected answer."""
    answer: str
    """The generated one."""
    correct: str
    """Whether that is the expected one: `right` or `wrong`."""
    choice: str
    """The likeliest choice."""
    choice_correct: str
    """Whether that is the expected answer."""
    samples: str
    """Answers that were sampled."""
    loss: str
    """The loss on the expected answer, in nats a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedQuestions:
    """The questions that there is room for."""

    rows: tuple[QuestionRow, ...]
    """They, in the order of the data."""
    unlisted: str
    """How many are left out, in a sentence; empty where none is."""
    blank: frozenset[str]
    """The fields that hold nothing in any of them."""


def listed_questions(outcomes: Sequence[Outcome]) -> ListedQuestions:
    """As many questions as there is room for: those with a wrong answer before all others."""
    order = sorted(range(len(outcomes)), key=lambda place: not _is_wrong(outcomes[place]))
    rows = tuple(_row(outcomes[place]) for place in sorted(order[:MOST_QUESTIONS]))
    unlisted = ""
    if len(rows) < len(outcomes):
        unlisted = (
            f"{len(rows):,} of {len(outcomes):,} questions are listed, those with wrong answers "
            "before others; the record holds all of them."
        )
    names = [field.name for field in fields(QuestionRow)]
    blank = frozenset(name for name in names if all(getattr(row, name) == NONE for row in rows))
    return ListedQuestions(rows=rows, unlisted=unlisted, blank=blank)


def said(text: str | None) -> str:
    """An answer in quotes."""
    return "no answer" if not text else f'"{printable(text, 60)}"'


def _is_wrong(outcome: Outcome) -> bool:
    return outcome.correct is False or outcome.choice_correct is False


def _row(outcome: Outcome) -> QuestionRow:
    judged = outcome.correct is not None
    return QuestionRow(
        place=printable(outcome.place, 60),
        expected=printable(outcome.expected),
        answer=(printable(outcome.answer or "") or "no answer") if judged else NONE,
        correct=_RIGHT[outcome.correct],
        choice=printable(outcome.choice) if outcome.choice else NONE,
        choice_correct=_RIGHT[outcome.choice_correct],
        samples=f"{outcome.samples:,}" if outcome.samples > 1 else NONE,
        loss=_loss(outcome),
    )


def _loss(outcome: Outcome) -> str:
    if outcome.loss is None or not outcome.tokens:
        return NONE
    return numbers.loss(outcome.loss / outcome.tokens)
