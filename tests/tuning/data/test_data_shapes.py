"""What rows are recognised as, and the rows that do not fit the others."""

from pathlib import Path
from typing import Any

import pytest

from chat_data import turns, write_jsonl
from spectrum_ft.errors import MAX_MESSAGE, DataError
from spectrum_ft.tuning.data.files import read_rows
from spectrum_ft.tuning.data.rows import Rows
from spectrum_ft.tuning.data.shapes import Conversation, Example, Passage, recognise

SHAREGPT = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
TALK = turns("q", "a")
ALPACA = {"instruction": "Add.", "input": "1, 2", "output": "3"}


def rows_of(tmp_path: Path, *rows: Any, columns: dict[str, str] | None = None) -> Rows:
    return read_rows(str(write_jsonl(tmp_path / "train.jsonl", rows)), columns)


def examples(rows: Rows) -> list[Example]:
    shape = recognise(rows)
    return [shape.read(row) for row in rows.entries]


def refusal(rows: Rows) -> DataError:
    with pytest.raises(DataError) as caught:
        examples(rows)
    error = caught.value
    assert error.hint
    assert error.message.isprintable()
    assert len(error.message) <= MAX_MESSAGE
    return error


RECOGNISED: dict[str, tuple[dict[str, Any], str]] = {
    "messages": ({"messages": TALK}, "conversations in `messages`"),
    "ShareGPT": ({"conversations": SHAREGPT}, "conversations in `conversations` (ShareGPT)"),
    "turns": ({"prompt": TALK[:1], "completion": TALK[1:]}, "conversations in `prompt` and"),
    "texts": ({"prompt": "q", "completion": "a"}, "plain text in `prompt` and `completion`"),
    "Alpaca": (ALPACA, "Alpaca's `instruction`, `input` and `output`"),
    "no input": ({"instruction": "Add.", "output": "3"}, "Alpaca's `instruction`"),
    "text": ({"text": "Once."}, "plain text in `text`"),
    "two of them": ({"messages": TALK, "text": "Once."}, "conversations in `messages`; not used"),
    "other columns": ({"text": "Once.", "id": 1, "url": "x"}, "as a whole; not used: id, url"),
}


@pytest.mark.parametrize(("row", "said"), RECOGNISED.values(), ids=RECOGNISED)
def test_each_shape_is_recognised_and_said(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    assert said in recognise(rows_of(tmp_path, row, row)).said


def test_conversations_read_alike_however_their_fields_are_called(tmp_path: Path) -> None:
    wanted = Conversation(messages=TALK)
    for row in ({"messages": TALK}, {"conversations": SHAREGPT}, {"messages": SHAREGPT}):
        assert examples(rows_of(tmp_path, row)) == [wanted]
    split = {"prompt": TALK[:1], "completion": TALK[1:]}
    assert examples(rows_of(tmp_path, split)) == [Conversation(messages=TALK, learned_from=1)]


def test_an_instruction_is_a_conversation_and_has_a_plain_spelling(tmp_path: Path) -> None:
    with_input, without, empty = examples(
        rows_of(tmp_path, ALPACA, {**ALPACA, "input": None}, {**ALPACA, "input": ""})
    )
    assert isinstance(with_input, Conversation)
    assert isinstance(without, Conversation)
    assert with_input.messages == turns("Add.\n\n1, 2", "3")
    assert without.messages == turns("Add.", "3")
    assert without == empty
    # The words are those of stanford_alpaca's train.py.
    assert with_input.plain == Passage(
        prompt="Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n### Response:\n",
        completion="3",
    )
    assert without.plain == Passage(
        prompt="Below is an instruction that describes a task. Write a response that "
        "appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Response:\n",
        completion="3",
    )


def test_tools_go_with_their_conversation_as_a_list_or_as_json(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    talk = [TALK[0], call, {"role": "tool", "content": "3"}, TALK[1]]
    rows = rows_of(
        tmp_path,
        {"messages": talk, "tools": tools},
        {"messages": talk, "tools": '[{"type": "function", "function": {"name": "add"}}]'},
        {"messages": talk, "tools": None},
    )
    first, second, third = examples(rows)
    assert isinstance(first, Conversation)
    assert isinstance(third, Conversation)
    assert first == second
    assert first.tools == tools
    assert third.tools is None
    assert first.messages[1] == {"role": "assistant", "tool_calls": [{"id": "1"}]}


MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "another shape": ({"text": "Once."}, "no `messages`; the others have it"),
    "null": ({"messages": None}, "no `messages`"),
    "text": ({"messages": "q"}, "`messages` is text, not a list of messages"),
    "no messages": ({"messages": []}, "`messages` is empty"),
    "a bare word": ({"messages": ["q"]}, "message 1 is text, not an object"),
    "no role": ({"messages": [{"content": "q"}]}, "`role` is missing"),
    "a role of numbers": ({"messages": [{"role": 1, "content": "q"}]}, "`role` is a number"),
    "another role": ({"messages": [{"role": "asistant", "content": "q"}]}, "role 'asistant'"),
    "no content": ({"messages": [{"role": "user"}]}, "`content` is missing, not text"),
    "null content": (
        {"messages": [TALK[0], {"role": "assistant", "content": None}]},
        "`messages`, message 2: `content` is missing",
    ),
    "content of parts": (
        {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        "`content` is a list, not text",
    ),
    "tools in words": ({"messages": TALK, "tools": "a hammer"}, "`tools`: it is not JSON"),
    "tools by name": ({"messages": TALK, "tools": ["f"]}, "one of `tools` is text"),
    "one tool": ({"messages": TALK, "tools": {"name": "f"}}, "`tools` is an object"),
}


@pytest.mark.parametrize(("row", "words"), MISFITS.values(), ids=MISFITS)
def test_a_row_that_does_not_fit_the_others_is_refused_by_its_line(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    error = refusal(rows_of(tmp_path, {"messages": TALK}, {"messages": TALK}, row))
    assert error.message.startswith("train.jsonl, line 3: ")
    assert words in error.message


def test_a_misspelt_role_is_answered_with_the_nearest(tmp_path: Path) -> None:
    for spelled, hint in (("asistant", "did you mean assistant?"), ("\x1b[2J", "roles: system,")):
        error = refusal(rows_of(tmp_path, {"messages": [{"role": spelled, "content": "q"}]}))
        assert hint in str(error.hint)


def test_columns_that_make_no_example_are_refused_with_those_that_would(tmp_path: Path) -> None:
    for row in ({"question": "q", "answer": "a"}, {"prompt": "q"}, {"text": None}, {}):
        error = refusal(rows_of(tmp_path, row))
        assert "make no known kind of example" in error.message
        assert "prompt + completion" in str(error.hint)
        assert "question=prompt" in str(error.hint)
    assert "question, answer" in refusal(rows_of(tmp_path, {"question": "", "answer": ""})).message


def test_a_column_that_was_mapped_decides_between_two_shapes(tmp_path: Path) -> None:
    row = {"messages": TALK, "body": "Once."}
    assert recognise(rows_of(tmp_path, row)).said.startswith("conversations")
    mapped = rows_of(tmp_path, row, columns={"body": "text"})
    assert examples(mapped) == [Passage(prompt="", completion="Once.")]
    with pytest.raises(DataError, match="with prompt mapped"):
        recognise(rows_of(tmp_path, row, columns={"body": "prompt"}))


def test_half_a_character_from_a_program_is_refused_by_its_place(tmp_path: Path) -> None:
    # No file can hold one, so it is put in afterwards, as a caller of the library might.
    rows = rows_of(tmp_path, {"text": "Once."})
    object.__setattr__(rows.entries[0], "values", {"text": "\ud800"})
    assert "train.jsonl, line 1: `text` holds half" in refusal(rows).message
