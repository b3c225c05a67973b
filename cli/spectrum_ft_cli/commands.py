"""What all commands share: grouped help, configuration files, quiet and verbose."""

import difflib
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from spectrum_ft.errors import RecordError
from spectrum_ft_cli.talk import Talk

GENERAL = "General"

Function = TypeVar("Function", bound=Callable[..., Any])


class Decorator(Protocol):
    """What adds options to a command's function and gives the function back."""

    def __call__(self, function: Function, /) -> Function: ...


class Option(click.Option):
    """An option that knows under which heading its help belongs."""

    def __init__(self, *args: Any, group: str = GENERAL, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group


def option(*names: str, group: str, **attributes: Any) -> Decorator:
    """An option of a command, listed under `group` in its help."""
    return click.option(*names, cls=Option, group=group, **attributes)


class Command(click.Command):
    """A command with `--config`, `--show-config`, `-q`, `-v`, and its options grouped in help."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params += [
            Option(
                ["--config"],
                type=click.Path(dir_okay=False, path_type=Path),
                callback=_read_config,
                is_eager=True,
                expose_value=False,
                help="Read options from this YAML file; the command line wins.",
            ),
            Option(
                ["--show-config"],
                is_flag=True,
                help="Print the options in force as YAML, and do nothing else.",
            ),
            Option(
                ["-q", "--quiet"],
                is_flag=True,
                callback=_set_quiet,
                expose_value=False,
                help="Say nothing but results and errors.",
            ),
            Option(
                ["-v", "--verbose"],
                is_flag=True,
                callback=_set_verbose,
                expose_value=False,
                help="Show the traceback of an error.",
            ),
        ]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, one section a group, in the order of their declaration."""
        groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups[getattr(parameter, "group", GENERAL)].append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, or print what it would run with."""
        if ctx.params.pop("show_config"):
            click.echo(effective_options(ctx), nl=False)
            return None
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader has gone (`| head`); click would make an error of it. Point the stream
            # elsewhere, or Python complains at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


def _read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    from spectrum_ft.record_files import read_bytes_of
    from spectrum_ft.strict_yaml import YamlFault, parse_yaml

    try:
        table = parse_yaml(read_bytes_of(str(path))) or {}
    except YamlFault as fault:
        raise RecordError(f"{path}: {fault}", "write `option: value` lines") from None
    if not isinstance(table, dict):
        raise RecordError(f"{path}: not a table of options", "write `option: value` lines")
    known = {_spelling(p): p for p in ctx.command.params if isinstance(p, click.Option)}
    defaults = {}
    for key, value in table.items():
        spelled = str(key).replace("_", "-")
        if spelled not in known:
            close = difflib.get_close_matches(spelled, known, n=1)
            raise RecordError(
                f"{path}: unknown option {ascii(key)[:60]}",
                f"did you mean {close[0]}?" if close else f"options: {', '.join(known)}",
            )
        if _is_no_integer(value) and isinstance(known[spelled].type, click.types.IntParamType):
            raise RecordError(f"{path}: {spelled}: {value} is not a whole number", "give one")
        several = known[spelled].multiple and isinstance(value, str)
        defaults[known[spelled].name] = [value] if several else value
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _is_no_integer(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, float) and not value.is_integer())


def _spelling(parameter: click.Option) -> str:
    """An option's long name without its dashes, as it is written in a configuration file."""
    return max(parameter.opts, key=len).lstrip("-")


def _set_quiet(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    ctx.find_object(Talk).quiet = value  # type: ignore[union-attr]  # main() always sets it


def _set_verbose(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    ctx.find_object(Talk).verbose = value  # type: ignore[union-attr]  # main() always sets it


def effective_options(ctx: click.Context) -> str:
    import yaml

    options = {p.name: p for p in ctx.command.params if isinstance(p, click.Option)}
    table = {}
    for name, value in ctx.params.items():
        if name in options:
            plain = list(value) if isinstance(value, tuple) else value
            table[_spelling(options[name])] = str(plain) if isinstance(plain, Path) else plain
    return yaml.safe_dump(table, sort_keys=True)
