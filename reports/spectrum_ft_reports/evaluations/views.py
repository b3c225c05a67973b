"""What is said of an evaluation, as strings: all that shows it takes its figures from here."""

from collections.abc import Sequence
from dataclasses import dataclass

from spectrum_ft.comparing.proportions import wilson
from spectrum_ft.records.evaluations import Evaluation, Outcome
from spectrum_ft_reports.evaluations.questions import NONE, QuestionRow, listed_questions, said
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact, KeyFigure
from spectrum_ft_reports.parts.titles import short_source
from spectrum_ft_reports.parts.untrusted import printable

_EXAMPLES = 3  # wrong answers that are shown where there is little room
_FEW_QUESTIONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """What was measured."""

    name: str
    """The metric."""
    value: str
    """The figure."""
    interval: str
    """Its 95 % interval."""
    of: str
    """What it was taken on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationView:
    """How a model did."""

    title: str
    """The model, and what it was asked."""
    verdict: str
    """How it did, in one sentence."""
    figures: tuple[KeyFigure, ...]
    """The figures that matter."""
    metrics: tuple[MetricRow, ...]
    """Everything that was measured."""
    facts: tuple[Fact, ...]
    """On what and how, one line a subject."""
    wrong: tuple[Fact, ...]
    """The first wrong answers: where the question stands, and what was said instead."""
    cautions: tuple[str, ...]
    """Where the figures are weaker than they look, a sentence each."""
    questions: tuple[QuestionRow, ...]
    """The questions, in the order of the data; of very many, the wrong ones before others."""
    unlisted: str
    """How many are left out; empty where none is."""
    blank: frozenset[str]
    """The fields of the questions' rows that hold nothing in any of them."""
    command: str
    """The command that made it."""


def evaluation_view(evaluation: Evaluation) -> EvaluationView:
    """The view of an evaluation."""
    metrics = tuple(_metrics(evaluation))
    listed = listed_questions(evaluation.outcomes)
    return EvaluationView(
        title=_title(evaluation),
        verdict=_verdict(evaluation),
        figures=tuple(
            KeyFigure(row.name, row.value, _note(row)) for row in metrics if not _of_harness(row)
        ),
        metrics=metrics,
        facts=tuple(_facts(evaluation)),
        wrong=tuple(_wrong(evaluation.outcomes)),
        cautions=tuple(_cautions(evaluation)),
        questions=listed.rows,
        unlisted=listed.unlisted,
        blank=listed.blank,
        command=printable(evaluation.command, 8_000),
    )


def _title(evaluation: Evaluation) -> str:
    model = printable(short_source(evaluation.source), 60)
    return f"{model} on {printable(short_source(evaluation.data.source), 60)}"


def _verdict(evaluation: Evaluation) -> str:
    """The answers, or else the choices, or else the loss."""
    outcomes = evaluation.outcomes
    for judged, what in (
        ([o.correct for o in outcomes], "answered as expected"),
        ([o.choice_correct for o in outcomes], "decided as expected, by likelihood"),
    ):
        told = [one for one in judged if one is not None]
        if told:
            share, interval = numbers.share(sum(told), len(told)), _interval(told)
            questions = numbers.plural(len(told), "question")
            were = "was" if len(told) == 1 else "were"
            return (
                f"{sum(told):,} of {questions} {were} {what}: {share}, with a 95 % interval of "
                f"{interval}."
            )
    if evaluation.loss is not None:
        return f"The loss on the expected answers is {numbers.loss(evaluation.loss)} nats a token."
    return f"{numbers.plural(len(outcomes), 'question')} asked; nothing was measured on them."


def _metrics(evaluation: Evaluation) -> list[MetricRow]:
    outcomes = evaluation.outcomes
    rows = []
    if evaluation.exact_match is not None:
        rows.append(_share_row("exact match", [outcome.correct for outcome in outcomes]))
    if evaluation.choice_accuracy is not None:
        rows.append(_share_row("choice", [outcome.choice_correct for outcome in outcomes]))
    if evaluation.loss is not None:
        tokens = numbers.plural(sum(outcome.tokens for outcome in outcomes), "token")
        rows.append(_plain_row("loss", numbers.loss(evaluation.loss), f"{tokens} of answers"))
    if evaluation.general_loss is not None:
        general = printable(short_source(evaluation.settings.general or ""), 60)
        loss = numbers.loss(evaluation.general_loss)
        rows.append(_plain_row("general loss", loss, f"the text {general}"))
    for name, figure in sorted(evaluation.tasks.items()):
        rows.append(_plain_row(printable(name, 80), f"{figure:.4g}", _HARNESS))
    return rows


_HARNESS = "lm-evaluation-harness"


def _of_harness(row: MetricRow) -> bool:
    return row.of == _HARNESS


def _plain_row(name: str, value: str, of: str) -> MetricRow:
    return MetricRow(name=name, value=value, interval=NONE, of=of)


def _share_row(name: str, judged: Sequence[bool | None]) -> MetricRow:
    """The share of what was judged right, with Wilson's interval."""
    told = [one for one in judged if one is not None]
    return MetricRow(
        name=name,
        value=numbers.share(sum(told), len(told)),
        interval=_interval(told) if told else NONE,
        of=f"{sum(told):,} of {numbers.plural(len(told), 'question')}",
    )


def _interval(told: Sequence[bool]) -> str:
    low, high = wilson(sum(told), len(told))
    return f"{100.0 * low:.1f} to {100.0 * high:.1f} %"


def _note(row: MetricRow) -> str:
    return row.of if row.interval == NONE else f"{row.interval}; {row.of}"


def _facts(evaluation: Evaluation) -> list[Fact]:
    settings = evaluation.settings
    facts = [Fact("model", printable(short_source(evaluation.source), 60))]
    facts.append(Fact("data", _data(evaluation)))
    if settings.few_shot:
        facts.append(Fact("examples", _few_shot(evaluation)))
    if settings.answer_pattern is not None:
        facts.append(Fact("answer", f"what {printable(settings.answer_pattern, 80)} finds"))
    if settings.votes > 1 and evaluation.samples is not None:
        spent = f"{evaluation.samples:.1f} answers sampled a question, {settings.votes:,} at most"
        facts.append(Fact("votes", f"{spent}, at temperature {settings.temperature:g}"))
    facts.append(Fact("time", _time(evaluation)))
    facts.append(Fact("memory", f"{numbers.size(evaluation.peak_memory_bytes)} at most"))
    return facts


def _data(evaluation: Evaluation) -> str:
    data = evaluation.data
    parts = [numbers.plural(data.rows, "question")]
    if data.truncated:
        parts.append(f"{data.truncated:,} cut at {evaluation.settings.max_length:,} tokens")
    if data.dropped:
        parts.append(f"{data.dropped:,} without an answer's tokens")
    source = printable(short_source(data.source), 60)
    return f"{source}, {printable(data.shape)}: {', '.join(parts)}"


def _few_shot(evaluation: Evaluation) -> str:
    settings = evaluation.settings
    source = printable(short_source(settings.examples or ""), 60)
    shown = numbers.plural(settings.few_shot, "solved example")
    return f"{shown} of {source} in front of each question, drawn with seed {settings.seed}"


def _time(evaluation: Evaluation) -> str:
    parts = [numbers.seconds(evaluation.seconds)]
    if evaluation.generated_tokens:
        parts.append(f"{evaluation.generated_tokens:,} tokens generated")
    return f"{', '.join(parts)}, on {printable(evaluation.environment.device, 60)}"


def _wrong(outcomes: Sequence[Outcome]) -> list[Fact]:
    """The first wrong answers, or choices where no answer is wrong."""
    answers = [(o, o.answer) for o in outcomes if o.correct is False]
    choices = [(o, o.choice) for o in outcomes if o.choice_correct is False]
    return [
        Fact(printable(outcome.place, 60), f"{said(text)}, expected {said(outcome.expected)}")
        for outcome, text in (answers or choices)[:_EXAMPLES]
    ]


def _cautions(evaluation: Evaluation) -> list[str]:
    found = []
    count = len(evaluation.outcomes)
    if count < _FEW_QUESTIONS:
        questions = numbers.plural(count, "question")
        found.append(f"{questions} only: on others the figures may be quite different.")
    if evaluation.data.truncated and evaluation.loss is not None:
        cut = numbers.plural(evaluation.data.truncated, "example")
        length = f"{evaluation.settings.max_length:,}"
        found.append(f"The loss was taken on {cut} cut at {length} tokens.")
    return found
