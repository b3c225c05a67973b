"""An evaluation, from a model in memory and a data set to a record."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from spectrum_ft.environment import command_line, current_environment
from spectrum_ft.evaluating.answers import extracted
from spectrum_ft.evaluating.choosing import choice_scores
from spectrum_ft.evaluating.examinations import (
    Examination,
    check_evaluation,
    check_lengths,
    pattern_of,
)
from spectrum_ft.evaluating.generating import base_of, generate
from spectrum_ft.evaluating.likelihood import losses
from spectrum_ft.evaluating.voting import is_settled, winner
from spectrum_ft.records.evaluations import EvalSettings, Evaluation, Outcome
from spectrum_ft.tuning.data.labelling import Labelled
from spectrum_ft.tuning.devices import device_name
from spectrum_ft.tuning.losses import evaluating, in_one_type
from spectrum_ft.tuning.opening import open_model, open_tokenizer
from spectrum_ft.tuning.process_memory import peak_bytes, reset_peak

_SHOWN = 200  # characters of an answer that a record keeps

Watch = Callable[[int, int], None]


def evaluate(
    source: str, settings: EvalSettings, *, watch: Watch = lambda done, of: None
) -> Evaluation:
    """How the model, or the finished run, that `source` names does on held-out data.

    Data and settings are checked before the model is loaded. Raises the `SpectrumError` of
    whatever is wrong.
    """
    exam = check_evaluation(open_tokenizer(source), settings)
    opened = open_model(source, device=settings.device, dtype=settings.dtype)
    return examine(opened.model, opened.tokenizer, exam, source=source, watch=watch)


def evaluate_model(
    model: Any,
    tokenizer: Any,
    settings: EvalSettings,
    *,
    source: str,
    watch: Watch = lambda done, of: None,
) -> Evaluation:
    """How `model`, which is in memory, does on the data that `settings` name.

    Raises `DataError` as `check_evaluation` does, else as `examine`.
    """
    exam = check_evaluation(tokenizer, settings)
    return examine(model, tokenizer, exam, source=source, watch=watch)


def examine(
    model: Any,
    tokenizer: Any,
    exam: Examination,
    *,
    source: str,
    watch: Watch = lambda done, of: None,
) -> Evaluation:
    """How `model`, which is in memory, does in `exam`.

    `source` is what the record calls it. `watch` is told how many of how many answers and losses
    are done. The model is left as it was. Raises `DataError` for prompts that are longer than the
    model can read.
    """
    settings = exam.settings
    check_lengths(base_of(model).config, exam)
    device = next(model.parameters()).device
    reset_peak(device)
    began = time.monotonic()
    progress = _Progress(exam, watch)
    found = [_Found(place=p, expected=e) for p, e in zip(exam.places, exam.expected, strict=True)]
    general_loss = None
    generated = 0
    with torch.no_grad(), evaluating(model), in_one_type(model):
        if exam.learned:
            _measure_losses(model, tokenizer, exam, found, progress)
        if "exact-match" in settings.metrics:
            generated = _answer(model, tokenizer, exam, found, progress)
        for one, options in zip(found, exam.options, strict=False):
            scores = choice_scores(model, options, settings.batch_size)
            best = exam.choices[scores.index(max(scores))]
            one.choice = extracted(best, pattern_of(settings))
            progress.add(1)
        if exam.general:
            general_loss = _mean_loss(model, tokenizer, exam.general, settings.batch_size)
    outcomes = tuple(one.outcome() for one in found)
    generates = "exact-match" in settings.metrics
    return Evaluation(
        source=source,
        settings=settings,
        data=exam.data,
        loss=_ratio([(o.loss, o.tokens) for o in outcomes if o.loss is not None]),
        exact_match=_share([o.correct for o in outcomes]),
        choice_accuracy=_share([o.choice_correct for o in outcomes]),
        samples=sum(o.samples for o in outcomes) / len(outcomes) if generates else None,
        general_loss=general_loss,
        outcomes=outcomes,
        generated_tokens=generated,
        seconds=time.monotonic() - began,
        peak_memory_bytes=peak_bytes(device),
        environment=current_environment(device_name(device)),
        command=command_line(),
    )


@dataclass(kw_only=True)
class _Found:
    """What is known of a question so far."""

    place: str
    expected: str
    samples: list[str | None] = field(default_factory=list)
    choice: str | None = None
    loss: float | None = None
    tokens: int = 0

    def outcome(self) -> Outcome:
        answer = winner(self.samples)
        return Outcome(
            place=self.place,
            expected=self.expected[:_SHOWN],
            answer=None if answer is None else answer[:_SHOWN],
            correct=answer == self.expected if self.samples else None,
            samples=len(self.samples),
            choice=None if self.choice is None else self.choice[:_SHOWN],
            choice_correct=None if self.choice is None else self.choice == self.expected,
            loss=self.loss,
            tokens=self.tokens,
        )


class _Progress:
    """Counts what is done of all that is measured."""

    def __init__(self, exam: Examination, watch: Watch) -> None:
        self._of = len(exam.places) * len(exam.settings.metrics)
        self._done = 0
        self._watch = watch

    def add(self, count: int) -> None:
        self._done += count
        self._watch(self._done, self._of)


def _measure_losses(
    model: Any, tokenizer: Any, exam: Examination, found: list[_Found], progress: _Progress
) -> None:
    with_any = [i for i, one in enumerate(exam.learned) if one is not None]
    examples = [one for one in exam.learned if one is not None]
    batch_size, pad = exam.settings.batch_size, tokenizer.pad_token_id
    for i, loss, count in losses(model, examples, batch_size=batch_size, pad_token_id=pad):
        found[with_any[i]].loss, found[with_any[i]].tokens = loss, count
        progress.add(1)


def _answer(
    model: Any, tokenizer: Any, exam: Examination, found: list[_Found], progress: _Progress
) -> int:
    """Have every question answered, once or until its vote is settled; the tokens generated."""
    settings, pattern = exam.settings, pattern_of(exam.settings)
    generated = 0
    open_questions = list(range(len(found)))
    for vote in range(settings.votes):
        answers = generate(
            model,
            tokenizer,
            [exam.prompts[i] for i in open_questions],
            max_new_tokens=exam.max_new_tokens,
            ends=exam.ends,
            batch_size=settings.batch_size,
            temperature=settings.temperature if settings.votes > 1 else None,
            seed=settings.seed * 10_007 + vote,
        )
        for place, tokens in answers:
            one = found[open_questions[place]]
            generated += len(tokens)
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            answer = text.strip().partition("\n")[0] if exam.one_line else text
            one.samples.append(extracted(answer, pattern))
            if is_settled(one.samples, settings.votes):
                progress.add(1)
        open_questions = [
            i for i in open_questions if not is_settled(found[i].samples, settings.votes)
        ]
    return generated


def _mean_loss(
    model: Any, tokenizer: Any, examples: Sequence[Labelled], batch_size: int
) -> float | None:
    found = losses(model, examples, batch_size=batch_size, pad_token_id=tokenizer.pad_token_id)
    return _ratio([(loss, count) for _, loss, count in found])


def _ratio(parts: Sequence[tuple[float | None, int]]) -> float | None:
    tokens = sum(count for _, count in parts)
    return sum(loss or 0.0 for loss, _ in parts) / tokens if tokens else None


def _share(correct: Sequence[bool | None]) -> float | None:
    told = [one for one in correct if one is not None]
    return sum(told) / len(told) if told else None
