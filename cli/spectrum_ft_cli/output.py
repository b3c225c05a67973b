"""Where a command's result goes."""

import sys
from pathlib import Path

import click

from spectrum_ft.errors import OutputError
from spectrum_ft.record_files import STDIN
from spectrum_ft.writing import check_writable, write_file
from spectrum_ft_cli.commands import Decorator, Function, option


def output_options(what: str) -> Decorator:
    """The options --json, -o and --force of a command whose result is `what`."""

    def add(function: Function) -> Function:
        for decorate in (
            option("--force", group="Output", is_flag=True, help="Replace an existing output."),
            option(
                "-o",
                "--output",
                group="Output",
                type=click.Path(path_type=Path),
                help=f"Write {what} to this file.",
            ),
            option(
                "--json", "as_json", group="Output", is_flag=True, help="Print the record as JSON."
            ),
        ):
            function = decorate(function)
        return function

    return add


def check_output(output: Path | None, *, force: bool, source: str | None = None) -> None:
    """Raise `OutputError` before any work if the result could not be written, or must not be.

    A model's folder is never written to.
    """
    if output is None:
        return
    if output.name == STDIN:
        raise OutputError(
            f"{output}: not a file name",
            "leave -o out: results go to standard output by themselves",
        )
    check_writable(output, force=force)
    if source is None or not Path(source).exists():
        return
    model = Path(source).resolve()
    if output.resolve() == model:
        raise OutputError(f"{output}: is what is read here", "write the result somewhere else")
    if model.is_dir() and output.resolve().is_relative_to(model):
        raise OutputError(
            f"{output}: lies in the model's own folder", "write the result somewhere else"
        )


def check_folder(output: Path, *, model: str, what: str) -> None:
    """Raise `OutputError` before any work if `what` could not be kept in that folder, or must not.

    A model's folder is never written to.
    """
    if output.name == STDIN:
        raise OutputError(f"{output}: not the name of a folder", "give the name of a new one")
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file", "give the name of a folder")
    folder = Path(model)
    if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
        raise OutputError(
            f"{output}: lies in the model's own folder", f"keep {what} somewhere else"
        )


def emit(text: str, output: Path | None, *, force: bool) -> None:
    """Write `text` to the file `output` if there is one, else to standard output."""
    if output is not None:
        write_file(output, text, force=force)
    else:
        sys.stdout.write(text)
