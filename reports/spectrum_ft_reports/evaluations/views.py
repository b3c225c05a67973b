"""What is said of an evaluation, as strings."""

from collections.abc import Sequence

from spectrum_ft.comparing.statistics import wilson
from spectrum_ft.records.evaluations import Evaluation, Outcome
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.titles import short_source
from spectrum_ft_reports.parts.untrusted import printable

_EXAMPLES = 3  # wrong answers that are shown


def evaluation_facts(evaluation: Evaluation) -> tuple[Fact, ...]:
    """How a model did, one line a subject, and some of its wrong answers."""
    settings, outcomes = evaluation.settings, evaluation.outcomes
    facts = [Fact("model", printable(short_source(evaluation.source), 60))]
    facts.append(Fact("data", _data(evaluation)))
    if settings.few_shot:
        facts.append(Fact("examples", _few_shot(evaluation)))
    if evaluation.loss is not None:
        tokens = sum(outcome.tokens for outcome in outcomes)
        what = f"{numbers.loss(evaluation.loss)} a token, over {tokens:,} tokens of answers"
        facts.append(Fact("loss", what))
    if evaluation.exact_match is not None:
        facts.append(Fact("exact match", _correct([outcome.correct for outcome in outcomes])))
    if evaluation.choice_accuracy is not None:
        facts.append(Fact("choice", _correct([outcome.choice_correct for outcome in outcomes])))
    if settings.votes > 1 and evaluation.samples is not None:
        spent = f"{evaluation.samples:.1f} answers sampled a question, {settings.votes:,} at most"
        facts.append(Fact("votes", f"{spent}, at temperature {settings.temperature:g}"))
    if evaluation.general_loss is not None:
        general = printable(short_source(settings.general or ""), 60)
        facts.append(
            Fact("general", f"{numbers.loss(evaluation.general_loss)} a token of {general}")
        )
    for name, figure in sorted(evaluation.tasks.items()):
        facts.append(Fact("harness", f"{printable(name, 80)}: {figure:.4g}"))
    facts.append(Fact("time", _time(evaluation)))
    facts.append(Fact("memory", f"{numbers.size(evaluation.peak_memory_bytes)} at most"))
    facts += [Fact("wrong", text) for text in _wrong(outcomes)]
    return tuple(facts)


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


def _correct(judged: Sequence[bool | None]) -> str:
    """`64.5 % correct, 129 of 200; 95 % interval 57.7 to 70.8 %`."""
    told = [one for one in judged if one is not None]
    right = sum(told)
    said = f"{numbers.share(right, len(told))} correct, {right:,} of {len(told):,}"
    if not told:
        return said
    low, high = wilson(right, len(told))
    return f"{said}; 95 % interval {100.0 * low:.1f} to {100.0 * high:.1f} %"


def _time(evaluation: Evaluation) -> str:
    parts = [numbers.seconds(evaluation.seconds)]
    if evaluation.generated_tokens:
        parts.append(f"{evaluation.generated_tokens:,} tokens generated")
    return f"{', '.join(parts)}, on {printable(evaluation.environment.device, 60)}"


def _wrong(outcomes: Sequence[Outcome]) -> list[str]:
    """The first wrong answers, or choices where no answer is wrong."""
    answers = [(o, o.answer) for o in outcomes if o.correct is False]
    choices = [(o, o.choice) for o in outcomes if o.choice_correct is False]
    return [
        f"{printable(outcome.place, 60)}: {_quoted(said)}, expected {_quoted(outcome.expected)}"
        for outcome, said in (answers or choices)[:_EXAMPLES]
    ]


def _quoted(text: str | None) -> str:
    return "no answer" if not text else f'"{printable(text, 60)}"'
