"""JSON from strangers: what RFC 8259 allows is read, and nothing more."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectrum_ft.strict_json import JsonFault, parse_json

DEEP = 100_000

REFUSED = {
    "nothing": (b"", "not JSON"),
    "blanks": (b"  \n", "not JSON"),
    "half a table": (b'{"a": 1', "not JSON"),
    "two values": (b"1 2", "not JSON"),
    "trailing comma": (b"[1,]", "not JSON"),
    "single quotes": (b"{'a': 1}", "not JSON"),
    "comment": (b"1 // one", "not JSON"),
    "leading zero": (b"01", "not JSON"),
    "control character": (b'"a\x1bb"', "not JSON"),
    "where it goes wrong": (b'{\n  "a": x}', "line 2 column 8"),
    "byte order mark": (b"\xef\xbb\xbf{}", "not JSON"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8 text (byte 0)"),
    "Latin-1": (b'"caf\xe9"', "not UTF-8 text (byte 4)"),
    "NaN": (b"[NaN]", "holds NaN"),
    "Infinity": (b"[Infinity]", "holds Infinity"),
    "minus infinity": (b"[-Infinity]", "holds -Infinity"),
    "infinity by overflow": (b"[1e999]", "the number 1e999 is too large"),
    "a very long number": (b"1" * 5000, "is too long"),
    "a long number": (b"1" * 31, "is too long"),
    "a key twice": (b'{"a": 1, "b": 2, "a": 1}', "the key 'a' appears twice"),
    "a key twice, once escaped": (b'{"a": 1, "\\u0061": 1}', "the key 'a' appears twice"),
    "a key twice, deep inside": (b'[{"b": [{"a": 1, "a": 2}]}]', "the key 'a' appears twice"),
    "a hostile key twice": (b'{"\\u001b[2J": 1, "\\u001b[2J": 2}', r"'\x1b[2J' appears twice"),
    "deep lists": (b"[" * DEEP + b"]" * DEEP, "nested too deeply"),
    "deep tables": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "nested too deeply"),
    "deep and unfinished": (b'[{"a":' * DEEP, "nested too deeply"),
    "half a character": (b'["\\ud83d"]', "lone surrogate"),
    "the other half": (b'["\\uDE00"]', "lone surrogate"),
    "halves in the wrong order": (b'["\\ude00\\ud83d"]', "lone surrogate"),
    "half a character in a key": (b'{"\\ud83d": 1}', "lone surrogate"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_strict_json_is_refused_with_the_reason(case: str) -> None:
    data, expected = REFUSED[case]
    with pytest.raises(JsonFault) as fault:
        parse_json(data)
    assert expected in str(fault.value)
    assert str(fault.value).isprintable()
    assert len(str(fault.value)) <= 300


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b" {} \r\n", {}),
        (b'{"a": [1, -2.5, 1e3, true, null, "x"]}', {"a": [1, -2.5, 1000.0, True, None, "x"]}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\ud83d"', "\\ud83d"),
        ('"né"'.encode(), "né"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b'{"": {"": 0}}', {"": {"": 0}}),
        (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    ],
)
def test_strict_json_is_read(data: bytes, expected: object) -> None:
    assert parse_json(data) == expected


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(value=VALUES, ascii_only=st.booleans())
def test_what_was_written_is_read_again(value: object, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@settings(derandomize=True, max_examples=500, deadline=None)
@given(
    data=st.binary(max_size=40)
    | st.text('[]{},:"\\0123eE+-.truefalsn ud83', max_size=40).map(str.encode)
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = parse_json(data)
    except JsonFault:
        return
    assert value == json.loads(data)
