"""YAML that people edit: plain values are read, and everything clever is refused."""

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from spectrum_ft.strict_yaml import MAX_BYTES, MAX_VALUES, YamlFault, parse_yaml

BILLION_LAUGHS = b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"

REFUSED = {
    "too large": (b"#" * (MAX_BYTES + 1), "larger than 5,242,880 bytes"),
    "alias": (b"a: &x 1\nb: *x\n", "an alias (line 2)"),
    "billion laughs": (BILLION_LAUGHS, "an alias (line 2)"),
    "merge": (b"a: {b: 1}\n<<: {c: 2}\n", "a key that is not plain text (line 2)"),
    "key twice": (b"a: 1\nb: 2\na: 3\n", "the key 'a' appears twice (line 3)"),
    "key twice, once quoted": (b"a: 1\n'a': 3\n", "the key 'a' appears twice (line 2)"),
    "key twice, deep inside": (b"- {b: [{a: 1, a: 2}]}\n", "the key 'a' appears twice (line 1)"),
    "hostile key twice": (b'"\\e[2J": 1\n"\\e[2J": 2\n', r"'\x1b[2J' appears twice"),
    "number as a key": (b"1: a\n", "a key that is not plain text (line 1)"),
    "truth as a key": (b"a: 1\nyes: a\n", "a key that is not plain text (line 2)"),
    "null as a key": (b"~: a\n", "a key that is not plain text"),
    "list as a key": (b"? [a]\n: b\n", "a key that is not plain text"),
    "table as a key": (b"? {a: b}\n: c\n", "a key that is not plain text"),
    "deep lists": (b"[" * 1000, "nested too deeply"),
    "deep tables": (b"{a: " * 1000, "nested too deeply"),
    "deep by indent": (b"".join(b" " * i + b"a:\n" for i in range(30)), "nested too deeply"),
    "Python object": (b"!!python/object/apply:os.system [ls]\n", "a tag (line 1)"),
    "Python name": (b"a: !!python/name:os.system\n", "a tag (line 1)"),
    "binary": (b"a: !!binary aGk=\n", "a tag (line 1)"),
    "set": (b"a: !!set {b, c}\n", "a tag (line 1)"),
    "own tag": (b"a: !mine 1\n", "a tag (line 1)"),
    "wrong truth": (b"a: !!bool maybe\n", "a tag (line 1)"),
    "wrong date": (b"a: !!timestamp soon\n", "a tag (line 1)"),
    "wrong number": (b"a: !!int ''\n", "a tag (line 1)"),
    "date": (b"a: 1\nb: 2024-01-31\n", "(line 2); put it in quotes"),
    "time": (b"a: 2024-01-31T10:00:00Z\n", "(line 1); put it in quotes"),
    "impossible date": (b"a: 2024-13-77\n", "(line 1); put it in quotes"),
    "equals sign": (b"a: =\n", "(line 1); put it in quotes"),
    "NaN": (b"a: [{b: .nan}]\n", "not finite"),
    "infinity": (b"a: -.inf\n", "not finite"),
    "infinity by overflow": (b"a: 1.0e+999\n", "not finite"),
    "a very long number": (b"a: " + b"1" * 5000, "cannot be read"),
    "two documents": (b"a: 1\n---\nb: 2\n", "single document"),
    "bad indent": (b"a: 1\n b: 2\n", "line 2"),
    "tab": (b"a:\n\tb: 1\n", "line 2"),
    "open quote": (b"a: 'b\n", "line"),
    "not UTF-8": (b"a: caf\xe9\n", ""),
    "control character": (b"a: \x1b[2J\n", ""),
    "NUL": (b"a: \0\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_plain_yaml_is_refused_with_the_reason(case: str) -> None:
    data, expected = REFUSED[case]
    with pytest.raises(YamlFault) as fault:
        parse_yaml(data)
    assert expected in str(fault.value)
    assert str(fault.value).isprintable()
    assert len(str(fault.value)) <= 200


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", None),
        (b"# only a comment\n", None),
        (b"a: 1\nb: [x, 2.5, true, null]\n", {"a": 1, "b": ["x", 2.5, True, None]}),
        (b"--- {a: {b: c}}\n", {"a": {"b": "c"}}),
        ('name: "né 😀"\n'.encode(), {"name": "né 😀"}),
        (b"a: '2024-01-31'\n'1': '<<'\n", {"a": "2024-01-31", "1": "<<"}),
        (b"a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        (b"- &anchor a\n- b\n", ["a", "b"]),
        (b"{a: b}", {"a": "b"}),
        (b'{"a": ["b", 1.5e3]}', {"a": ["b", "1.5e3"]}),  # YAML 1.1: an exponent needs its sign
    ],
)
def test_plain_yaml_is_read(data: bytes, expected: object) -> None:
    assert parse_yaml(data) == expected


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(categories=["L", "N", "P", "S", "Z"]))
    | st.sampled_from(
        ["2024-01-31", "<<", "=", "yes", "~", "0x1f", "1e3", ".nan", "!tag", "*a", "&a"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abn1~<=", max_size=5), inner)
    ),
    max_leaves=10,
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(value=VALUES)
def test_what_was_written_is_read_again(value: object) -> None:
    class WithoutAliases(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    text = yaml.dump(value, Dumper=WithoutAliases, allow_unicode=True)
    assert parse_yaml(text.encode()) == value


@settings(derandomize=True, max_examples=1500, deadline=None)
@given(
    data=st.binary(max_size=30)
    | st.lists(
        st.sampled_from(
            [
                "a",
                "b",
                ": ",
                "- ",
                "\n",
                "  ",
                "[",
                "]",
                "{",
                "}",
                ", ",
                "!!int ",
                "!!bool ",
                "! ",
                "&x ",
                "*x ",
                "<<",
                "? ",
                "'",
                '"',
                "|\n",
                "1",
                "0x",
                "0b",
                "1:30",
                "2024-01-31",
                "~",
                ".inf",
                "=",
                "---\n",
                "...\n",
                "%YAML 1.1\n",
                "#",
                "_",
                "e+9",
            ]
        ),
        max_size=12,
    ).map(lambda parts: "".join(parts).encode())
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = parse_yaml(data)
    except YamlFault:
        return
    # The parser written in C forgives some things that the other one does not.
    assert value == yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def test_the_largest_files_get_their_verdict_soon() -> None:
    most = b"[" + b"a, " * (MAX_VALUES - 10) + b"]"
    start = time.process_time()
    assert len(parse_yaml(most)) == MAX_VALUES - 10
    assert time.process_time() - start < 20
    start = time.process_time()
    with pytest.raises(YamlFault, match="more than 500,000 values"):
        parse_yaml(b"[" + b",".join([b"a"] * (MAX_BYTES // 2 - 1)) + b"]")
    assert time.process_time() - start < 20
