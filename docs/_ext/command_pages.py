"""A page for every command of the program, from the command itself."""

import inspect
import re
from collections import defaultdict
from collections.abc import Iterator

import click

from spectrum_ft_cli.commands import GENERAL
from spectrum_ft_cli.main import COMMANDS, cli

_NOTES = re.compile(r"\[((?:default|required|[^\[\]]*[<>]=?)[^\]]*)\]")
"""What click and our help texts put in brackets behind an option's help."""

_CODE = re.compile(r"(`[^`]+`|(?<![\w-])--[a-z][a-z0-9-]*)")
"""What is code in a help text: what stands in backticks, and options."""

_SHORT = 44
"""How many signs of choices an option's line has room for; more go below it."""


def command_pages() -> Iterator[tuple[str, str]]:
    """File name and MyST text of each command's page, in the program's own order."""
    top = click.Context(cli, info_name="spectrum", **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(top, name)
        assert command is not None
        yield f"{name}.md", command_page(command, click.Context(command, top, info_name=name))


def command_page(command: click.Command, context: click.Context) -> str:
    """The page of a command, its subcommands included."""
    return "\n".join(_command(command, context, level=1))


def _command(command: click.Command, context: click.Context, *, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```none\n{context.command_path} {usage}\n```\n"
    yield from _help(command.help or "")
    yield from _options(command, context, level=level + 1)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(
                inner, click.Context(inner, context, info_name=name), level=level + 1
            )


def _help(text: str) -> Iterator[str]:
    """The help as paragraphs; what click is told to leave alone (`\\b`) is an example."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if not paragraph.startswith("\b\n"):
            yield _markdown(" ".join(paragraph.split())) + "\n"
            continue
        title, *lines = paragraph.removeprefix("\b\n").split("\n")
        shown = inspect.cleandoc("\n" + "\n".join(lines))
        yield f"{title}\n\n```sh\n{shown}\n```\n"


def _options(command: click.Command, context: click.Context, *, level: int) -> Iterator[str]:
    groups: dict[str, list[click.Option]] = defaultdict(list)
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            groups[getattr(parameter, "group", GENERAL)].append(parameter)
    groups[GENERAL] = groups.pop(GENERAL, [])  # what every command has comes last
    yield f"```{{program}} {context.command_path}\n```\n"
    for name, options in groups.items():
        if isinstance(command, click.Group):
            continue  # only --help
        yield f"{'#' * level} {name}\n"
        for option in options:
            yield from _option(option, context)


def _option(option: click.Option, context: click.Context) -> Iterator[str]:
    names = [*option.opts, *option.secondary_opts]
    value, choices = _value(option, context)
    yield f"````{{option}} {', '.join(name + value for name in names)}\n"
    said = _NOTES.sub("", option.help or "").strip()
    explained = said.split("; ")
    if choices and [part.partition(": ")[0] for part in explained] == list(choices):
        for choice, part in zip(choices, explained, strict=True):
            yield f"- `{choice}`: {_markdown(part.partition(': ')[2])}"
        yield ""
    else:
        yield _markdown(said) + "\n"
        if choices:
            yield f"One of {', '.join(f'`{choice}`' for choice in choices)}.\n"
    if notes := _notes(option, context):
        yield f"*{_markdown(notes[0].upper() + notes[1:])}.*\n"
    yield "````\n"


def _notes(option: click.Option, context: click.Context) -> str:
    """What the help says in brackets: the default, the range, whether it has to be given."""
    record = option.get_help_record(context)
    return "; ".join(map(_in_words, _NOTES.findall(record[1]))) if record else ""


def _in_words(note: str) -> str:
    """`1<=x<=9` as `from 1 to 9`, `x>=1` as `at least 1`."""
    note = re.sub(r"(\S+)<=x<=(\S+)", r"from \1 to \2", note)
    return re.sub(r"x>=(\S+)", r"at least \1", note)


def _value(option: click.Option, context: click.Context) -> tuple[str, tuple[str, ...]]:
    """What stands behind the option's name, and its choices where they do not fit there."""
    if option.is_flag or option.count:
        return "", ()
    shown = option.make_metavar(context)
    if len(shown) <= _SHORT or not isinstance(option.type, click.Choice):
        return f" {shown.removesuffix(' RANGE')}", ()
    return f" {option.type.name.upper()}", tuple(option.type.choices)


def _markdown(text: str) -> str:
    """Help text as Markdown: backticks and options are code, the rest means nothing."""
    parts = _CODE.split(text)  # code at the odd places
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = f"`{part.strip('`')}`"
        else:
            parts[place] = re.sub(r"([\\*_\[\]<>{}$#])", r"\\\1", part)
    return "".join(parts)
