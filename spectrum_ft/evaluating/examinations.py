"""All that a model is going to be asked, read and checked before there is a model."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spectrum_ft.errors import DataError
from spectrum_ft.evaluating.answers import extracted
from spectrum_ft.evaluating.likelihood import read_general
from spectrum_ft.evaluating.questions import (
    Question,
    answered,
    behind_examples,
    prompt_of,
    questions_in,
    solved_examples,
)
from spectrum_ft.records.evaluations import EvalSettings
from spectrum_ft.records.training import DataSummary
from spectrum_ft.tuning.data.chat_spans import Written
from spectrum_ft.tuning.data.encoding import encode, write_example
from spectrum_ft.tuning.data.files import read_rows
from spectrum_ft.tuning.data.labelling import UNLABELLED, Labelled, label, opening_tokens
from spectrum_ft.tuning.data.rows import Rows
from spectrum_ft.tuning.data.shapes import recognise

MOST_CHOICES = 200
_SPARE_TOKENS = 8


@dataclass(frozen=True, kw_only=True)
class Examination:
    """All that a model is going to be asked, read and checked."""

    settings: EvalSettings
    """What is measured."""
    data: DataSummary
    """The questions' data."""
    places: tuple[str, ...]
    """Where each question stands."""
    expected: tuple[str, ...]
    """The expected answers, taken out and normalised."""
    learned: tuple[Labelled | None, ...] = ()
    """The tokens that the loss is taken on; None for a question without any."""
    prompts: tuple[list[int], ...] = ()
    """The questions as tokens."""
    ends: tuple[int, ...] = ()
    """The tokens that end an answer."""
    max_new_tokens: int = 0
    """The longest answer that is generated."""
    one_line: bool = False
    """Whether no expected answer has a second line, so that of generated ones the first counts."""
    choices: tuple[str, ...] = ()
    """What is chosen from."""
    options: Iterable[Sequence[Labelled]] = ()
    """Every question with each choice for its answer."""
    general: tuple[Labelled, ...] = ()
    """The general text."""


class Options:
    """Every question with each choice for its answer, made when it is come to.

    Thousands of questions with dozens of choices would fill memory.
    """

    def __init__(
        self, questions: Sequence[Question], choices: Sequence[str], tokenizer: Any
    ) -> None:
        self._questions = questions
        self._choices = choices
        self._tokenizer = tokenizer

    def __iter__(self) -> Iterator[list[Labelled]]:
        for question in self._questions:
            texts = [answered(question, choice, self._tokenizer) for choice in self._choices]
            yield list(label(texts, self._tokenizer))


def check_evaluation(tokenizer: Any, settings: EvalSettings) -> Examination:
    """What a model with `tokenizer` would be asked under `settings`; no model is needed yet.

    Raises `DataError` for data, patterns or examples that cannot be used.
    """
    whole = read_rows(settings.data, settings.columns)
    rows = replace(whole, entries=whole.entries[: settings.limit])
    places = tuple(row.place for row in rows.entries)
    summary = encode(rows, tokenizer, max_length=settings.max_length).summary
    made = Examination(settings=settings, data=summary, places=places, expected=("",) * len(places))
    if "loss" in settings.metrics:
        made = replace(made, learned=_learned(rows, tokenizer, settings.max_length))
    if settings.general is not None:
        general = read_general(settings.general, tokenizer, settings.max_length)
        made = replace(made, general=tuple(general))
    if settings.few_shot or set(settings.metrics) & {"exact-match", "choice"}:
        made = _with_questions(made, whole, tokenizer)
    return made


def _learned(rows: Rows, tokenizer: Any, max_length: int) -> tuple[Labelled | None, ...]:
    """What the loss is taken on in each row, exactly as training takes it."""
    shape = recognise(rows)
    written = [write_example(shape, row, tokenizer, "completions") for row in rows.entries]
    texts = [one for one in written if isinstance(one, Written)]
    found = iter(label(texts, tokenizer) if texts else ())
    learned: list[Labelled | None] = []
    for one in written:
        whole = next(found) if isinstance(one, Written) else Labelled([], [])
        cut = Labelled(whole.ids[:max_length], whole.labels[:max_length])
        has_any = any(token != UNLABELLED for token in cut.labels)
        learned.append(cut if has_any else None)
    return tuple(learned)


def _with_questions(made: Examination, whole: Rows, tokenizer: Any) -> Examination:
    settings = made.settings
    shots = solved_examples(settings, tokenizer)
    read = questions_in(whole, tokenizer)
    questions = [behind_examples(question, shots) for question in read[: len(made.places)]]
    texts = [prompt_of(question, tokenizer) for question in questions]
    answers = [answered(question, question.expected, tokenizer) for question in questions]
    labelled = list(label(answers, tokenizer))
    lengths = [sum(token != UNLABELLED for token in one.labels) for one in labelled]
    prompts = [_prompt_tokens(q, t, tokenizer) for q, t in zip(questions, texts, strict=True)]
    made = replace(
        made,
        expected=tuple(_expected(question, settings) for question in questions),
        prompts=tuple(prompts),
        ends=_ends(questions, labelled, tokenizer),
        max_new_tokens=settings.max_new_tokens or max(lengths) + _SPARE_TOKENS,
        one_line=settings.answer_pattern is None
        and not any("\n" in question.expected.strip() for question in questions),
    )
    if shots and made.learned:  # the loss of an answer, given the examples in front of it
        made = replace(made, learned=tuple(labelled))
    if "choice" not in settings.metrics:
        return made
    choices = _choices(read, settings)  # of all rows, however few are asked
    return replace(made, choices=choices, options=Options(questions, choices, tokenizer))


def _expected(question: Question, settings: EvalSettings) -> str:
    answer = extracted(question.expected, pattern_of(settings))
    if not answer and settings.answer_pattern is None:
        raise DataError(
            f"{question.place}: nothing is left of the expected answer but full stops or quotes",
            "correct that row, or leave it out",
        )
    if not answer:
        raise DataError(
            f"{question.place}: the pattern finds no answer in the expected text",
            "correct --answer-pattern, or that row",
        )
    return answer


def pattern_of(settings: EvalSettings) -> re.Pattern[str] | None:
    """What takes the answer out of a text; None for the whole text."""
    return None if settings.answer_pattern is None else re.compile(settings.answer_pattern)


def _prompt_tokens(question: Question, text: str, tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    opening = opening_tokens(tokenizer) if question.is_plain else []
    return ids if ids[: len(opening)] == opening else opening + ids


def _ends(
    questions: Sequence[Question], answers: Sequence[Labelled], tokenizer: Any
) -> tuple[int, ...]:
    """The tokens that end an answer: the end of text, and the marker behind every answer.

    A marker is one token that the tokenizer was given, named as special or not, and that the
    expected answers themselves do not end with.
    """
    last = {next(t for t in reversed(one.labels) if t != UNLABELLED) for one in answers}
    known = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    marker = last if len(last) == 1 and last <= known else set()
    said = tuple(tokenizer.decode([token]) for token in marker)
    if any(question.expected.rstrip().endswith(said) for question in questions):
        marker = set()
    end_of_text = {tokenizer.eos_token_id} - {None}
    return tuple(sorted(marker | end_of_text))


def _choices(questions: Sequence[Question], settings: EvalSettings) -> tuple[str, ...]:
    """The distinct expected answers, in the order in which they come up."""
    distinct = {_expected(question, settings): question.expected for question in questions}
    choices = tuple(distinct.values())
    if not 2 <= len(choices) <= MOST_CHOICES:
        raise DataError(
            f"{settings.data}: {len(choices):,} different answers to choose from, not "
            f"2 to {MOST_CHOICES}",
            "leave the metric `choice` out",
        )
    return choices


def check_lengths(config: Any, exam: Examination) -> None:
    """Raise `DataError` for a text that is longer than a model of `config` has positions.

    Positions that are computed reach further, so that only answers are held to their number.
    """
    config = config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None:
        return
    if "exact-match" in exam.settings.metrics:
        longest = max(range(len(exam.prompts)), key=lambda i: len(exam.prompts[i]))
        needed = len(exam.prompts[longest]) + exam.max_new_tokens
        if needed > limit:
            raise DataError(
                f"{exam.places[longest]}: the prompt and its answer take {needed:,} tokens, and "
                f"the model has {limit:,} positions",
                "ask with fewer solved examples, or lower --max-new-tokens",
            )
    if getattr(config, "rope_parameters", None):
        return
    texts = [*exam.general, *(one for one in exam.learned if one is not None)]
    lengths = [len(one.ids) for one in texts]
    lengths += [len(one.ids) for options in exam.options for one in options]
    needed = max(lengths, default=0)
    if needed > limit:
        raise DataError(
            f"texts of {needed:,} tokens, and the model has {limit:,} positions",
            f"pass --max-length {limit}, fewer solved examples, or no choices",
        )
