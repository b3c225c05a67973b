"""What a data set's rows are: conversations, prompts with completions, instructions or text.

One shape holds for a whole file. It is recognised by the columns, and turns each row into one of
two things: a conversation, which a chat template writes out, or a passage of plain text.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spectrum_ft.errors import DataError, few_names
from spectrum_ft.strict_json import JsonFault, parse_json
from spectrum_ft.tuning.data.rows import Row, Rows

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "tool": "tool",
}
"""The roles that are known, and what chat templates call them."""

ALPACA_PROMPT = (
    "Below is an instruction that describes a task{paired}. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n{input}### Response:\n"
)
"""The prompt of Stanford Alpaca (github.com/tatsu-lab/stanford_alpaca), with and without input."""

_MAPPING = "map columns that have other names, e.g. question=prompt answer=completion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Plain text: a prompt that is read, and a completion that is learned."""

    prompt: str
    """What comes before; may be empty."""
    completion: str
    """What is learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Turns for a chat template to write out."""

    messages: Sequence[Mapping[str, Any]]
    """The turns, each with a `role` that is a value of `ROLES`, mostly with a `content`."""
    tools: Sequence[Any] | None = None
    """Descriptions of tools, for the template."""
    learned_from: int = 0
    """The index of the first turn that may be learned."""
    plain: Passage | None = None
    """The same for a model that has no chat template, where there is a usual way to write it."""


Example = Conversation | Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One way to lay out examples in columns."""

    said: str
    """What was recognised, in words for the user."""
    said_plain: str | None = None
    """The same where a model has no chat template, if that makes a difference."""
    fields: tuple[str, ...]
    """The columns that every row must fill."""
    optional: tuple[str, ...] = ()
    """Columns that count where they are there."""
    holds: type = str
    """What the columns in `fields` hold."""
    read: Callable[[Row], Example]
    """The example in a row; `DataError` with its place if the row does not fit."""


def recognise(rows: Rows) -> Shape:
    """The shape of all of `rows`; what it says names the columns that it leaves unused.

    Raises `DataError` if the columns make no known shape, and for a row that lacks one of them.
    """
    present = {name for row in rows.entries for name, v in row.values.items() if v is not None}
    fitting = [
        shape
        for shape in SHAPES
        if set(shape.fields) <= present and rows.mapped <= {*shape.fields, *shape.optional}
    ]
    if not fitting:
        raise _unrecognised(rows, present)
    first = rows.entries[0].values
    shape = next(
        (s for s in fitting if all(isinstance(first.get(f), s.holds) for f in s.fields)), fitting[0]
    )
    for row in rows.entries:
        for field in shape.fields:
            if row.values.get(field) is None:
                raise DataError(
                    f"{row.place}: no `{field}`; the others have it ({shape.said})",
                    "give every example the same columns",
                )
    unused = [n for n in sorted(present) if n not in {*shape.fields, *shape.optional}]
    left = few_names([*unused, *rows.unused])
    if not left:
        return shape
    plain = shape.said_plain and f"{shape.said_plain}; not used: {left}"
    return replace(shape, said=f"{shape.said}; not used: {left}", said_plain=plain)


def _unrecognised(rows: Rows, present: set[str]) -> DataError:
    names = few_names([*sorted(present), *rows.unused]) or "none that is filled"
    wanted = ", ".join(" + ".join(fields) for fields in dict.fromkeys(s.fields for s in SHAPES))
    mapped = f" with {few_names(sorted(rows.mapped))} mapped" if rows.mapped else ""
    return DataError(
        f"{rows.source}: its columns make no known kind of example{mapped} ({names})",
        f"give {wanted}; {_MAPPING}",
    )


def _conversation(field: str) -> Callable[[Row], Conversation]:
    def read(row: Row) -> Conversation:
        return Conversation(messages=_turns(row, field), tools=_tools(row))

    return read


def _prompted_turns(row: Row) -> Conversation:
    prompt, completion = _turns(row, "prompt"), _turns(row, "completion")
    return Conversation(
        messages=[*prompt, *completion], tools=_tools(row), learned_from=len(prompt)
    )


def _prompted_text(row: Row) -> Passage:
    return Passage(prompt=_text(row, "prompt"), completion=_text(row, "completion"))


def _bare_text(row: Row) -> Passage:
    return Passage(prompt="", completion=_text(row, "text"))


def _alpaca(row: Row) -> Conversation:
    instruction, output = _text(row, "instruction"), _text(row, "output")
    given = "" if row.values.get("input") is None else _text(row, "input")
    prompt = ALPACA_PROMPT.format(
        paired=", paired with an input that provides further context" if given else "",
        instruction=instruction,
        input=f"### Input:\n{given}\n\n" if given else "",
    )
    asked = f"{instruction}\n\n{given}" if given else instruction
    return Conversation(
        messages=[
            {"role": "user", "content": asked},
            {"role": "assistant", "content": output},
        ],
        plain=Passage(prompt=prompt, completion=output),
    )


def _turns(row: Row, field: str) -> list[Mapping[str, Any]]:
    """The turns in a column, under the names that chat templates use."""
    turns = row.values[field]
    if not isinstance(turns, list):
        raise _misfit(row, f"`{field}`", turns, "a list of messages")
    if not turns:
        raise DataError(f"{row.place}: `{field}` is empty", "give it at least one message")
    return [_turn(row, f"`{field}`, message {n}", turn) for n, turn in enumerate(turns, start=1)]


def _turn(row: Row, where: str, turn: Any) -> Mapping[str, Any]:
    if not isinstance(turn, dict):
        raise _misfit(row, where, turn, "an object with `role` and `content`")
    given: dict[str, Any] = {key: value for key, value in turn.items() if value is not None}
    if "role" in given:
        named = given
    else:  # ShareGPT's names
        names = {"from": "role", "value": "content"}
        named = {names.get(key, key): value for key, value in given.items()}
    spelled = named.get("role")
    if not isinstance(spelled, str):
        raise _misfit(row, f"{where}: `role`", spelled, "the speaker's name")
    if spelled not in ROLES:
        close = difflib.get_close_matches(spelled, ROLES, n=1)
        raise DataError(
            f"{row.place}: {where}: unknown role {ascii(spelled)[:80]}",
            f"did you mean {close[0]}?" if close else f"roles: {', '.join(ROLES)}",
        )
    content = named.get("content")
    # An assistant that calls a tool says nothing.
    if not (content is None and "tool_calls" in named):
        _check_text(row, f"{where}: `content`", content)
    named["role"] = ROLES[spelled]
    return named


def _tools(row: Row) -> Sequence[Any] | None:
    tools = row.values.get("tools")
    if isinstance(tools, str):  # as columnar files have to keep them
        try:
            tools = parse_json(tools.encode("utf-8", "surrogatepass")) if tools.strip() else None
        except JsonFault as fault:
            raise DataError(f"{row.place}: `tools`: {fault}", "give a list of tools") from None
    if tools is not None and not isinstance(tools, list):
        raise _misfit(row, "`tools`", tools, "a list of tools")
    for tool in tools or ():
        if not isinstance(tool, dict):
            raise _misfit(row, "one of `tools`", tool, "an object that describes a tool")
    return tools or None


def _text(row: Row, field: str) -> str:
    value: str = row.values[field]
    _check_text(row, f"`{field}`", value)
    return value


def _check_text(row: Row, where: str, value: Any) -> None:
    if not isinstance(value, str):
        raise _misfit(row, where, value, "text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            f"{row.place}: {where} holds half of a character (a lone surrogate)",
            "save the text as UTF-8 again",
        ) from None


def _misfit(row: Row, where: str, value: Any, wanted: str) -> DataError:
    return DataError(
        f"{row.place}: {where} is {_TYPES.get(type(value), 'a number')}, not {wanted}",
        "correct that example, or leave it out",
    )


_TYPES = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    bytes: "binary data",
    type(None): "missing",
}

SHAPES = (
    Shape(
        said="conversations in `messages`",
        fields=("messages",),
        optional=("tools",),
        holds=list,
        read=_conversation("messages"),
    ),
    Shape(
        said="conversations in `conversations` (ShareGPT)",
        fields=("conversations",),
        optional=("tools",),
        holds=list,
        read=_conversation("conversations"),
    ),
    Shape(
        said="Alpaca's `instruction`, `input` and `output`, as conversations",
        said_plain="Alpaca's `instruction`, `input` and `output`, in Alpaca's own prompt",
        fields=("instruction", "output"),
        optional=("input",),
        read=_alpaca,
    ),
    Shape(
        said="plain text in `prompt` and `completion`, written without a chat template",
        fields=("prompt", "completion"),
        read=_prompted_text,
    ),
    Shape(
        said="conversations in `prompt` and `completion`",
        fields=("prompt", "completion"),
        optional=("tools",),
        holds=list,
        read=_prompted_turns,
    ),
    Shape(
        said="plain text in `text`, learned as a whole",
        fields=("text",),
        read=_bare_text,
    ),
)
"""The shapes that are known; where several fit, the first that holds what the file holds."""
