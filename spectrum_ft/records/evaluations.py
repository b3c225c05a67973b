"""What crosses the border of an evaluation: its settings, its outcomes, its record."""

import re
from dataclasses import dataclass, field, fields
from typing import Literal

from spectrum_ft.errors import SpectrumError
from spectrum_ft.records import figures
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.rows import Preview, Row, Tabular
from spectrum_ft.records.training import DataSummary

EVALUATION_SCHEMA = "spectrum-ft/evaluation@1"

Metric = Literal["loss", "exact-match", "choice"]
METRICS: tuple[Metric, ...] = ("loss", "exact-match", "choice")


class EvalSettingsError(SpectrumError):
    """An evaluation setting that makes no sense, or that cannot be honoured here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSettings:
    """Everything that an evaluation is asked to do, besides the model."""

    data: str
    """The questions with their answers: a file, or a data set's id on the Hub."""
    columns: dict[str, str] = field(default_factory=dict)
    """The standard field that each renamed column of the data stands for."""
    metrics: tuple[Metric, ...] = ("loss", "exact-match")
    """What is measured: the loss on the answers, generated answers, or a choice by likelihood."""
    answer_pattern: str | None = None
    """A regular expression whose first group is the answer; its last match in a text counts.

    None to take the whole text. It is applied to the expected answer as well.
    """
    few_shot: int = 0
    """Solved examples in front of each question."""
    examples: str | None = None
    """Where they come from: a file or Hub id, as the training data."""
    votes: int = 1
    """Answers sampled for each question, at most; the most frequent one counts."""
    temperature: float = 0.7
    """The temperature of sampling, where there is more than one vote; above 0."""
    max_new_tokens: int | None = None
    """The longest answer that is generated; None for the longest expected one and 8 more."""
    max_length: int = 1024
    """The longest example in tokens that the loss is taken on; longer ones are cut at their end."""
    limit: int | None = None
    """How many questions are asked: the first ones of the data; None for all."""
    batch_size: int = 32
    """Sequences that are computed at once."""
    general: str | None = None
    """A general text to take the loss on as well, which tells what was forgotten; None for none."""
    seed: int = 0
    """The seed of the solved examples and of sampling."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What computes; auto: a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What weights are kept in; auto: bfloat16 on a GPU, float32 on a CPU."""

    def __post_init__(self) -> None:
        for name, smallest in _SMALLEST.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                option = "--" + name.replace("_", "-")
                raise EvalSettingsError(f"{option} {value}: too small", f"give at least {smallest}")
        if not 0.0 < self.temperature < float("inf"):
            raise EvalSettingsError(f"--temperature {self.temperature}: not above 0", "give 0.7")
        if not self.metrics or set(self.metrics) - set(METRICS):
            raise EvalSettingsError("no known metric", f"metrics: {', '.join(METRICS)}")
        if self.few_shot and self.examples is None:
            raise EvalSettingsError(
                "solved examples have to come from somewhere", "give the data they are drawn from"
            )
        if self.votes > 1 and "exact-match" not in self.metrics:
            raise EvalSettingsError(
                "votes are taken on generated answers", "add exact-match to the metrics"
            )
        self._check_pattern()

    def _check_pattern(self) -> None:
        if self.answer_pattern is None:
            return
        try:
            groups = re.compile(self.answer_pattern).groups
        except re.error as fault:
            raise EvalSettingsError(
                f"the answer's pattern is no regular expression ({fault})",
                r"for GSM8K: '#### (-?[0-9.,]+)'",
            ) from None
        if not groups:
            raise EvalSettingsError(
                "the answer's pattern has no group", "put the answer in parentheses"
            )


_SMALLEST = {
    "few_shot": 0,
    "votes": 1,
    "max_new_tokens": 1,
    "max_length": 2,
    "limit": 1,
    "batch_size": 1,
    "seed": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one question."""

    place: str
    """Where it stands: `test.jsonl, line 17`."""
    expected: str
    """The expected answer, normalised; at most 200 characters of it."""
    answer: str | None = None
    """The generated answer that counts, normalised likewise; null if none was generated."""
    correct: bool | None = None
    """Whether that is the expected one."""
    samples: int = 0
    """Answers that were sampled before the vote was settled."""
    choice: str | None = None
    """The choice that is most likely; null where none was made."""
    choice_correct: bool | None = None
    """Whether that is the expected answer."""
    loss: float | None = None
    """Summed cross-entropy of the expected answer's tokens in nats."""
    tokens: int = 0
    """Tokens that the loss is taken on."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation(Tabular):
    """How a model did on held-out data."""

    schema: str = EVALUATION_SCHEMA
    """Name and version of this layout."""
    source: str
    """The model, or the folder of the run that made it."""
    settings: EvalSettings
    """What was asked."""
    data: DataSummary
    """The questions' data."""
    loss: float | None
    """Mean cross-entropy over all answers' tokens in nats; null if not measured."""
    exact_match: float | None
    """The share of generated answers that are the expected one, in [0, 1]; null if not measured."""
    choice_accuracy: float | None
    """The share of choices that are the expected answer, in [0, 1]; null if not measured."""
    samples: float | None
    """Mean number of answers sampled for a question; null without generation."""
    general_loss: float | None
    """Mean cross-entropy of the general text in nats a token; null without one."""
    tasks: dict[str, float] = field(default_factory=dict)
    """Results of lm-evaluation-harness, by task and metric."""
    outcomes: tuple[Outcome, ...]
    """Every question, in the order of the data."""
    generated_tokens: int
    """Tokens that were generated."""
    seconds: float
    """Wall-clock seconds, without loading the model."""
    peak_memory_bytes: int
    """The most memory in use meanwhile."""
    environment: Environment
    """What computed it."""
    command: str
    """The command line, with tokens redacted and the home folder as `~`."""

    def to_rows(self) -> list[Row]:
        """One row for each question, in the order of the data; see `records.rows`."""
        names = [f.name for f in fields(Outcome)]
        return [{name: getattr(outcome, name) for name in names} for outcome in self.outcomes]

    def _preview(self) -> Preview:
        def row(index: int) -> tuple[str, ...]:
            outcome = self.outcomes[index]
            correct = outcome.choice_correct if outcome.correct is None else outcome.correct
            answer = outcome.choice if outcome.answer is None else outcome.answer
            return (
                outcome.place,
                outcome.expected,
                figures.NONE if answer is None else answer,
                figures.yes_or_no(correct),
                figures.loss(outcome.loss),
            )

        parts = [f"loss {figures.loss(self.loss)}"] if self.loss is not None else []
        accuracy = self.choice_accuracy if self.exact_match is None else self.exact_match
        parts += [f"{figures.percent(accuracy)} % correct"] if accuracy is not None else []
        return Preview(
            title=f"Evaluation of {self.source}: {', '.join(parts) or 'nothing measured'}",
            columns=("question", "expected", "answer", "correct", "loss"),
            number=len(self.outcomes),
            row=row,
            numeric=1,
        )
