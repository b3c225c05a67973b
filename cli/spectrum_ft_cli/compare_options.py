"""The options of `spectrum compare`, and the settings that they make."""

from collections.abc import Mapping
from typing import Any

import click

from spectrum_ft.records.comparisons import CompareSettings
from spectrum_ft.records.evaluations import METRICS, EvalSettings, Metric
from spectrum_ft.records.training import TrainSettings
from spectrum_ft_cli.commands import Function, option
from spectrum_ft_cli.setting_options import setting_of
from spectrum_ft_cli.train_options import as_columns
from spectrum_ft_cli.values import Share, listed

DEFAULT_STEPS = 200
_DATA, _FAIR, _TRAINING = "Data", "What is equal", "Training"
_EVALUATION, _OUTPUT = "Evaluation", "Output"

_training = setting_of(TrainSettings)
_evaluation = setting_of(EvalSettings)

_OF_DATA = {
    "data": _training(
        "data",
        group=_DATA,
        required=True,
        metavar="FILE|HUB_ID",
        help="The training data, as for `spectrum train`.",
    ),
    "max_length": _training("max_length", group=_DATA, help="The longest example in tokens."),
    "train_on": _training("train_on", group=_DATA, help="What the loss is taken on."),
}
_OF_TRAINING = {
    "batch_size": _training("batch_size", group=_FAIR, help="Rows a forward pass takes."),
    "grad_accum": _training(
        "grad_accum", group=_FAIR, help="Forward passes an optimizer step takes."
    ),
    "lora_lr": _training(
        "lora_lr", group=_TRAINING, help="Learning rate of adapters, where --lr does not say."
    ),
    "scheduler": _training(
        "scheduler",
        group=_TRAINING,
        help="How the learning rate goes down, by transformers' name.",
    ),
    "warmup": _training(
        "warmup", group=_TRAINING, help="The share of all steps in which it rises."
    ),
    "optimizer": _training(
        "optimizer", group=_TRAINING, help="The optimizer, by transformers' name."
    ),
    "precision": _training(
        "precision", group=_TRAINING, help="How trained weights are kept, see `spectrum train`."
    ),
    "dtype": _training("dtype", group=_TRAINING, help="What frozen weights are kept in."),
    "device": _training(
        "device", group=_TRAINING, help="What computes; auto: a GPU if there is one."
    ),
    "grad_checkpointing": _training(
        "grad_checkpointing",
        group=_TRAINING,
        help="Compute activations again in the backward pass instead of keeping them.",
    ),
    "save_every": _training(
        "save_every",
        group=_TRAINING,
        help="Steps between checkpoints. [default: one where it is interrupted]",
    ),
}
"""The options that are a training setting each, by its name."""

_OF_EVALUATION = {
    "answer_pattern": _evaluation(
        "answer_pattern",
        group=_EVALUATION,
        metavar="REGEX",
        help="Take the first group of its last match as the answer, e.g. '#### (-?[0-9.,]+)'.",
    ),
    "limit": _evaluation(
        "limit",
        "--questions",
        group=_EVALUATION,
        help="Ask only the first so many questions of the test data. [default: all]",
    ),
    "max_new_tokens": _evaluation(
        "max_new_tokens",
        group=_EVALUATION,
        help="The longest answer. [default: the longest expected one and 8 tokens]",
    ),
    "temperature": _evaluation(
        "temperature", group=_EVALUATION, help="Of sampling, where there are votes."
    ),
    "general": _evaluation(
        "general",
        group=_EVALUATION,
        metavar="FILE",
        help="A general text: how much worse its loss gets tells what an arm forgets.",
    ),
}
"""The options that are a setting of the evaluation each, by its name."""

_OPTIONS = (
    option(
        "--arms",
        group="Arms",
        required=True,
        metavar="LIST",
        help="What is compared, by commas: base, few-shot:5, votes:16, plan files, and "
        "PRESET[-PERCENT][:SCORE|:SEED] as in spectrum-25, spectrum-25:snr_mp, random-25:7.",
    ),
    option(
        "--lr",
        "rates",
        group="Arms",
        multiple=True,
        metavar="[ARM=]RATE,...",
        help="Learning rates of an arm, of what trains in full or else of its adapters. Of several "
        "the best on validation data is taken. Without ARM: of all arms. May be repeated.",
    ),
    option(
        "--against",
        group="Arms",
        metavar="LIST",
        help="Arms to hold the candidates against, besides QLoRA and a random choice.",
    ),
    _OF_DATA["data"],
    option(
        "--eval",
        "eval_data",
        group=_DATA,
        required=True,
        metavar="FILE|HUB_ID",
        help="The test data: questions with their answers, in the same columns.",
    ),
    option(
        "--column",
        "columns",
        group=_DATA,
        multiple=True,
        metavar="NAME=FIELD",
        help="Read the column NAME as the standard field FIELD, e.g. question=prompt. May be "
        "repeated.",
    ),
    option(
        "--validation",
        group=_DATA,
        type=Share(),
        default="10%",
        show_default=True,
        help="The share of the training data that learning rates are chosen on.",
    ),
    _OF_DATA["max_length"],
    _OF_DATA["train_on"],
    option(
        "--seeds",
        group=_FAIR,
        type=click.IntRange(1, 1000),
        default=3,
        show_default=True,
        help="How many seeds every arm is tried with; 5 for a headline.",
    ),
    option(
        "--steps",
        group=_FAIR,
        type=click.IntRange(min=1),
        help=f"Optimizer steps of every arm. [default: {DEFAULT_STEPS}]",
    ),
    option(
        "--minutes",
        group=_FAIR,
        type=float,
        help="Instead: minutes of training of every arm; its steps are timed first.",
    ),
    option(
        "--match",
        group=_FAIR,
        metavar="memory|params[:ARM]",
        help="Give arms with a share as much of the model as keeps them within the memory, or the "
        "trained weights, of ARM. [default ARM: the first one without a share]",
    ),
    *_OF_TRAINING.values(),
    option(
        "--ignore-forecast",
        group=_TRAINING,
        is_flag=True,
        help="Try arms even if their memory forecast does not fit.",
    ),
    option(
        "--metric",
        "metrics",
        group=_EVALUATION,
        default="loss,exact-match",
        show_default=True,
        metavar="LIST",
        help=f"What is measured: {', '.join(METRICS)}.",
    ),
    *_OF_EVALUATION.values(),
    option(
        "--eval-batch-size",
        group=_EVALUATION,
        type=int,
        default=32,
        show_default=True,
        help="Sequences that are computed at once.",
    ),
    option(
        "--require-not-worse",
        group=_OUTPUT,
        is_flag=True,
        help="Exit with 3 if a candidate is shown to be worse than what it is held against.",
    ),
    option("--keep-weights", group=_OUTPUT, is_flag=True, help="Keep what every trial trained."),
    option(
        "--dry-run",
        group=_OUTPUT,
        is_flag=True,
        help="Check everything, print what would be done, and write nothing.",
    ),
)


def compare_options(function: Function) -> Function:
    """`function` with all of these options, in the order of their declaration."""
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


def as_compare_settings(asked: Mapping[str, Any], arms: tuple[str, ...]) -> CompareSettings:
    """The settings that these options make; raises the `SpectrumError` of what makes no sense."""
    columns = as_columns(asked["columns"])
    metrics: tuple[Metric, ...] = listed(asked["metrics"])  # type: ignore[assignment]  # checked
    training = TrainSettings(
        **{name: asked[name] for name in (*_OF_DATA, *_OF_TRAINING)},
        columns=columns,
        max_steps=None if asked["minutes"] is not None else asked["steps"] or DEFAULT_STEPS,
    )
    evaluation = EvalSettings(
        data=asked["eval_data"],
        columns=columns,
        metrics=metrics,
        max_length=asked["max_length"],
        batch_size=asked["eval_batch_size"],
        **{name: asked[name] for name in _OF_EVALUATION},
    )
    return CompareSettings(
        training=training,
        evaluation=evaluation,
        seeds=tuple(range(asked["seeds"])),
        minutes=asked["minutes"],
        match=asked["match"],
        rates=_rates(asked["rates"], arms),
        validation_share=asked["validation"],
        against=listed(asked["against"]),
    )


def _rates(texts: tuple[str, ...], trained: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    """The learning rates by arm; those told without an arm hold for all of `trained`."""
    rates: dict[str, tuple[float, ...]] = {}
    named: set[str] = set()
    for text in sorted(texts, key=lambda text: "=" in text):  # what names an arm overrules
        arm, _, values = text.rpartition("=")
        try:
            numbers = tuple(float(value) for value in values.split(","))
        except ValueError:
            raise click.BadParameter(
                f"{text[:60]!a} is not ARM=RATE,... such as qlora=1e-4,2e-4", param_hint="--lr"
            ) from None
        if len(set(numbers)) < len(numbers):
            raise click.BadParameter(f"{text[:60]!a}: a rate comes twice", param_hint="--lr")
        for name in [arm.strip()] if arm else trained:
            if arm and name in named:
                raise click.BadParameter(f"{name[:60]!a} appears twice", param_hint="--lr")
            rates[name] = numbers
        named |= {arm.strip()} if arm else set()
    return rates
