"""Options about adapters and about how a plan is going to be trained, several at a time."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, get_args

import click

from spectrum_ft.forecasting.keeping import OPTIMIZERS, Precision
from spectrum_ft.memory import TrainingShape
from spectrum_ft.records.plans import LoraOn
from spectrum_ft_cli.commands import Decorator, Function, option

_SHAPE = TrainingShape()

_ADAPTERS = (
    option(
        "--lora",
        group="Adapters",
        type=click.Choice(list(get_args(LoraOn))),
        help="What gets adapters: nothing, every linear matrix of the blocks that does not train, "
        "or those that were picked, instead of training. Experts get none. "
        "[default: the preset's]",
    ),
    option("--lora-r", group="Adapters", type=int, help="Their rank. [default: the preset's]"),
    option(
        "--lora-alpha", group="Adapters", type=float, help="Their alpha. [default: the preset's]"
    ),
    option(
        "--lora-dropout",
        group="Adapters",
        type=float,
        help="Dropout on their input. [default: the preset's]",
    ),
)

_SHAPES = (
    option(
        "--batch-size",
        group="Memory forecast",
        type=click.IntRange(min=1, max=1_000_000),
        default=_SHAPE.batch_size,
        show_default=True,
        help="Rows a forward pass takes.",
    ),
    option(
        "--max-length",
        group="Memory forecast",
        type=click.IntRange(min=2, max=100_000_000),
        default=_SHAPE.max_length,
        show_default=True,
        help="Tokens in the longest row.",
    ),
    option(
        "--precision",
        group="Memory forecast",
        type=click.Choice(list(get_args(Precision))),
        default=_SHAPE.precision,
        show_default=True,
        help="How trained weights are kept.",
    ),
    option(
        "--optim",
        group="Memory forecast",
        type=click.Choice(list(OPTIMIZERS)),
        default=_SHAPE.optimizer,
        show_default=True,
        help="The optimizer, by transformers' name.",
    ),
    option(
        "--grad-checkpointing",
        group="Memory forecast",
        is_flag=True,
        help="Activations are computed again instead of kept.",
    ),
    option(
        "--device",
        group="Memory forecast",
        type=click.Choice(["cuda", "cpu"]),
        default=_SHAPE.device,
        show_default=True,
        help="What is going to train.",
    ),
)


_SHAPE_PARAMETERS = (
    "batch_size",
    "max_length",
    "precision",
    "optim",
    "grad_checkpointing",
    "device",
)


def _apply(function: Function, options: tuple[Decorator, ...]) -> Function:
    for decorate in reversed(options):  # as if they stood above the function in this order
        function = decorate(function)
    return function


def adapter_options(function: Function) -> Function:
    """The options `--lora`, `--lora-r`, `--lora-alpha` and `--lora-dropout` for a command."""
    return _apply(function, _ADAPTERS)


def shape_options_given() -> list[str]:
    """The options of `shape_options` that the user gave to the command at work."""
    context = click.get_current_context()
    names = [parameter.name or "" for parameter in context.command.params]
    ours = set(_SHAPE_PARAMETERS)
    default = click.core.ParameterSource.DEFAULT
    return [
        "--" + name.replace("_", "-")
        for name in names
        if name in ours and context.get_parameter_source(name) is not default
    ]


def shape_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that a memory forecast depends on, with training's own defaults.

    The command gets them as one argument: `shape`.
    """

    @wraps(function)
    def with_shape(
        *arguments: Any,
        batch_size: int,
        max_length: int,
        precision: Precision,
        optim: str,
        grad_checkpointing: bool,
        device: Literal["cpu", "cuda"],
        **others: Any,
    ) -> Any:
        shape = TrainingShape(
            batch_size=batch_size,
            max_length=max_length,
            precision=precision,
            optimizer=optim,
            gradient_checkpointing=grad_checkpointing,
            device=device,
        )
        return function(*arguments, shape=shape, **others)

    return _apply(with_shape, _SHAPES)
