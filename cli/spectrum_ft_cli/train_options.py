"""The options of `spectrum train`: one for every field of `TrainSettings`, and its default."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib.util import find_spec
from typing import Any

import click

from spectrum_ft.records.training import SettingsError, TrainSettings
from spectrum_ft_cli.commands import Function
from spectrum_ft_cli.setting_options import MAX_SEED, setting_of

_setting = setting_of(TrainSettings)
_DEFAULTS = {field.name: field.default for field in fields(TrainSettings)}

_SCHEDULERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)
"""transformers' schedules that need nothing besides the number of steps and the warm-up."""

_TRACKERS = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
"""Trackers by transformers' name, and the packages that each comes in."""

_DATA, _OPTIMIZATION, _MEMORY = "Data", "Optimization", "Precision and memory"
_EVALUATION, _CHECKPOINTS = "Evaluation", "Checkpoints"


_SETTINGS: tuple[Callable[[Any], Any], ...] = (
    _setting(
        "data",
        group=_DATA,
        required=True,
        metavar="FILE|HUB_ID",
        help="The examples: a .jsonl, .json, .csv, .parquet or .jsonl.gz file, or owner/name of a "
        "data set on the Hub. Their shape is recognised.",
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
        "train_on",
        group=_DATA,
        help="What the loss is taken on: answers only, or every token.",
    ),
    _setting(
        "max_length", group=_DATA, help="The longest example in tokens; longer ones lose their end."
    ),
    _setting(
        "packing",
        group=_DATA,
        help="Put several short examples in a row, where none sees another.",
    ),
    _setting("lr", group=_OPTIMIZATION, help="Peak learning rate of what trains in full."),
    _setting("lora_lr", group=_OPTIMIZATION, help="Peak learning rate of the adapters."),
    _setting(
        "weight_decay",
        group=_OPTIMIZATION,
        help="Decoupled weight decay of what trains in full; it pulls to 0, not to the base.",
    ),
    _setting("batch_size", group=_OPTIMIZATION, help="Rows a forward pass takes."),
    _setting("grad_accum", group=_OPTIMIZATION, help="Forward passes an optimizer step takes."),
    _setting("epochs", group=_OPTIMIZATION, help="Passes over the data."),
    _setting("max_steps", group=_OPTIMIZATION, help="Instead: this many optimizer steps."),
    _setting(
        "optimizer",
        "--optimizer",
        "--optim",
        group=_OPTIMIZATION,
        help="The optimizer, by transformers' name.",
    ),
    _setting(
        "scheduler",
        group=_OPTIMIZATION,
        type=click.Choice(_SCHEDULERS),
        help="How the learning rate goes down, by transformers' name.",
    ),
    _setting(
        "warmup",
        group=_OPTIMIZATION,
        help="The share of all steps in which the learning rate rises, e.g. 0.03.",
    ),
    _setting("max_grad_norm", group=_OPTIMIZATION, help="The norm that gradients are clipped to."),
    _setting(
        "seed",
        group=_OPTIMIZATION,
        type=click.IntRange(min=0, max=MAX_SEED),
        help="The seed of adapters, dropout and the order of the data, and of --preset random.",
    ),
    _setting(
        "precision",
        group=_MEMORY,
        help="How trained weights are kept: float32 masters, 16 bits with stochastic rounding, or "
        "as they are.",
    ),
    _setting(
        "dtype",
        group=_MEMORY,
        help="What frozen weights are kept in; auto: bfloat16 on a GPU, float32 on a CPU.",
    ),
    _setting(
        "grad_checkpointing",
        group=_MEMORY,
        help="Compute activations again in the backward pass instead of keeping them.",
    ),
    _setting("device", group=_MEMORY, help="What trains; auto: a GPU if there is one."),
    _setting(
        "eval_data",
        "--eval",
        group=_EVALUATION,
        metavar="FILE|HUB_ID",
        help="Held-out examples, like --data.",
    ),
    _setting(
        "eval_every",
        group=_EVALUATION,
        help="Steps between evaluations. [default: one at the end of each epoch]",
    ),
    _setting(
        "patience",
        group=_EVALUATION,
        help="Stop after this many evaluations without a better held-out loss.",
    ),
    _setting(
        "keep_best",
        group=_EVALUATION,
        help="The result is the checkpoint with the best held-out loss instead of the last one.",
    ),
    _setting(
        "save_every",
        group=_CHECKPOINTS,
        help="Steps between checkpoints. [default: one where the run is interrupted]",
    ),
    _setting("keep", group=_CHECKPOINTS, help="How many stay, the best one not counted."),
    _setting(
        "report_to",
        group="Output",
        type=click.Choice(list(_TRACKERS)),
        multiple=True,
        help="Report to this tracker as well. May be repeated.",
    ),
)


def setting_options(function: Function) -> Function:
    """`function` with all of these options, in the order of their declaration."""
    for decorate in reversed(_SETTINGS):
        function = decorate(function)
    return function


def as_settings(values: Mapping[str, Any]) -> TrainSettings:
    """The settings that these options make, among others; None stands for a field's default.

    A usage error for a column without a field. Raises `SettingsError` for values that make no
    sense, and for a tracker that is not installed.
    """
    for tracker in values["report_to"]:
        if not any(find_spec(package) for package in _TRACKERS[tracker]):
            raise SettingsError(
                f"--report-to {tracker}: {tracker} is not installed", f"pip install {tracker}"
            )
    told = {name: values[name] for name in _DEFAULTS if values[name] is not None}
    return TrainSettings(**{**told, "columns": as_columns(values["columns"])})


def as_columns(texts: tuple[str, ...]) -> dict[str, str]:
    """The standard field of each column that was named as NAME=FIELD; a usage error if not so."""
    columns: dict[str, str] = {}
    for text in texts:
        name, equals, standard = text.rpartition("=")
        if not (name and equals and standard):
            raise click.BadParameter(
                f"{text[:60]!a} is not NAME=FIELD, such as question=prompt", param_hint="--column"
            )
        if name in columns:
            raise click.BadParameter(f"{name[:60]!a} appears twice", param_hint="--column")
        columns[name] = standard
    return columns
