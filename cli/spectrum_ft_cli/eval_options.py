"""The options of `spectrum eval`: one for every field of `EvalSettings`, and its default."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import click

from spectrum_ft.records.evaluations import METRICS, EvalSettings, Metric
from spectrum_ft_cli.commands import Function
from spectrum_ft_cli.setting_options import MAX_SEED, setting_of
from spectrum_ft_cli.train_options import as_columns
from spectrum_ft_cli.values import each_once

_setting = setting_of(EvalSettings)
_DATA, _QUESTIONS, _ANSWERS, _COMPUTE = "Data", "Questions", "Answers", "Compute"

_SETTINGS: tuple[Callable[[Any], Any], ...] = (
    _setting(
        "data",
        group=_DATA,
        required=True,
        metavar="FILE|HUB_ID",
        help="The questions with their answers, in any shape that `spectrum train` takes.",
    ),
    _setting(
        "columns",
        "--column",
        group=_DATA,
        type=str,
        multiple=True,
        metavar="NAME=FIELD",
        help="Read the column NAME as the standard field FIELD, e.g. question=prompt. May be "
        "repeated.",
    ),
    _setting(
        "limit",
        group=_DATA,
        help="Ask only the first so many questions. [default: all]",
    ),
    _setting(
        "general",
        group=_DATA,
        metavar="FILE",
        help="Take the loss on this general text as well: what was forgotten shows there.",
    ),
    _setting(
        "max_length",
        group=_DATA,
        help="The longest example in tokens that the loss is taken on; longer ones lose their end.",
    ),
    _setting(
        "metrics",
        "--metric",
        group=_QUESTIONS,
        type=str,
        multiple=True,
        default=EvalSettings(data="").metrics,
        show_default=True,
        metavar="LIST",
        help=f"What is measured: {', '.join(METRICS)} (by likelihood, among the answers of the "
        "data).",
    ),
    _setting("few_shot", group=_QUESTIONS, help="Solved examples in front of each question."),
    _setting(
        "examples",
        group=_QUESTIONS,
        metavar="FILE|HUB_ID",
        help="Where they come from, e.g. the training data.",
    ),
    _setting(
        "answer_pattern",
        group=_ANSWERS,
        metavar="REGEX",
        help="Take the first group of its last match as the answer, e.g. '#### (-?[0-9.,]+)'.",
    ),
    _setting(
        "votes",
        group=_ANSWERS,
        help="Sample up to so many answers to each question, until the most frequent is settled.",
    ),
    _setting("temperature", group=_ANSWERS, help="Of sampling, where there are votes."),
    _setting(
        "max_new_tokens",
        group=_ANSWERS,
        help="The longest answer. [default: the longest expected one and 8 tokens]",
    ),
    _setting("batch_size", group=_COMPUTE, help="Sequences that are computed at once."),
    _setting("device", group=_COMPUTE, help="What computes; auto: a GPU if there is one."),
    _setting(
        "dtype",
        group=_COMPUTE,
        help="What weights are kept in; auto: as the run trained, or for a model bfloat16 on a "
        "GPU and float32 on a CPU.",
    ),
    _setting(
        "seed",
        group=_COMPUTE,
        type=click.IntRange(min=0, max=MAX_SEED),
        help="The seed of solved examples and of sampling.",
    ),
)


def eval_options(function: Function) -> Function:
    """`function` with all of these options, in the order of their declaration."""
    for decorate in reversed(_SETTINGS):
        function = decorate(function)
    return function


def as_eval_settings(values: Mapping[str, Any]) -> EvalSettings:
    """The settings that these options make, among others.

    A usage error for a column without a field. Raises `EvalSettingsError`.
    """
    told = {field.name: values[field.name] for field in fields(EvalSettings)}
    metrics: tuple[Metric, ...] = each_once(values["metrics"])  # type: ignore[assignment]  # checked
    return EvalSettings(**{**told, "columns": as_columns(values["columns"]), "metrics": metrics})


def idle_options(ctx: click.Context, settings: EvalSettings) -> list[str]:
    """What was said on the command line and has no effect under `settings`, with the reason."""
    generates = "exact-match" in settings.metrics
    reasons = {
        "examples": (not settings.few_shot, "there is no --few-shot"),
        "temperature": (settings.votes == 1, "there is one vote, and it is not sampled"),
        "max_new_tokens": (not generates, "no answer is generated"),
    }
    return [
        f"--{name.replace('_', '-')} has no effect: {why}"
        for name, (is_idle, why) in reasons.items()
        if is_idle and ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
