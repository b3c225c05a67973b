"""The options that say what a scan computes with."""

import click

from spectrum_ft.scanning.compute import ENGINES
from spectrum_ft_cli.commands import Function, option
from spectrum_ft_cli.values import Size

COMPUTE = "Compute"


def compute_options(function: Function) -> Function:
    """--device, --workers, --memory, --engine and --stream of a command that scans."""
    for decorate in (
        option(
            "--stream",
            group=COMPUTE,
            is_flag=True,
            help="Read a Hub model over the network, tensor by tensor, without downloading it.",
        ),
        option(
            "--engine",
            group=COMPUTE,
            type=click.Choice(list(ENGINES)),
            default="local",
            show_default=True,
            help="Where: on this machine, or on the Ray cluster that RAY_ADDRESS names.",
        ),
        option(
            "--memory",
            group=COMPUTE,
            type=Size(),
            metavar="SIZE",
            help="The most memory that a process takes, e.g. 8GiB. [default: most of what is free]",
        ),
        option(
            "--workers",
            group=COMPUTE,
            type=click.IntRange(min=1, max=1024),
            help="Matrices at a time. [default: one a processor; two a GPU]",
        ),
        option(
            "--device",
            group=COMPUTE,
            default="auto",
            show_default=True,
            metavar="auto|cpu|cuda|cuda:N",
            help="What computes; auto takes every GPU that is there, else the processors.",
        ),
    ):
        function = decorate(function)
    return function
