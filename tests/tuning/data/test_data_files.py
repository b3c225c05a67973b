"""Training data read from files: every format, and every line at fault."""

import gzip
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from chat_data import banking77_messages, shared_or_skip, write_jsonl
from spectrum_ft.errors import MAX_MESSAGE, DataError
from spectrum_ft.tuning.data import formats as data_formats
from spectrum_ft.tuning.data.files import read_rows

ROW = {"prompt": "2 + 2 =", "completion": "4"}
LINE = json.dumps(ROW).encode() + b"\n"


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def refusal(source: str | Path, columns: dict[str, str] | None = None) -> DataError:
    with pytest.raises(DataError) as caught:
        read_rows(str(source), columns)
    error = caught.value
    assert error.hint
    for text in (error.message, error.hint):
        assert text.isprintable()
        assert len(text) <= MAX_MESSAGE
    return error


def test_the_same_rows_come_out_of_every_format(tmp_path: Path) -> None:
    table = {"prompt": ["a", "b, \u2028c"], "completion": ["x", '"y"\nz']}
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "d.parquet")
    sources = {
        write(tmp_path / "d.jsonl", lines): "d.jsonl, line 2",
        write(tmp_path / "bom.jsonl", b"\xef\xbb\xbf" + lines): "bom.jsonl, line 2",
        write(tmp_path / "crlf.jsonl", lines.replace(b"\n", b"\r\n")): "crlf.jsonl, line 2",
        write(tmp_path / "d.JSONL.gz", gzip.compress(lines)): "d.JSONL.gz, line 2",
        write(tmp_path / "lines.json", lines): "lines.json, line 2",
        write(tmp_path / "d.json", json.dumps(rows, indent=1).encode()): "d.json, entry 2",
        write(tmp_path / "array.jsonl", b" \n" + json.dumps(rows).encode()): "array.jsonl, entry 2",
        write(
            tmp_path / "d.csv",
            b'\xef\xbb\xbfprompt,completion\r\na,x\r\n\r\n"b, \xe2\x80\xa8c","""y""\nz"\r\n',
        ): "d.csv, line 4",
        str(tmp_path / "d.parquet"): "d.parquet, row 2",
    }
    for source, place in sources.items():
        found = read_rows(source)
        assert [row.values for row in found.entries] == rows, source
        assert found.entries[1].place == place
        assert found.source == source
        assert found.digest == hashlib.sha256(Path(source).read_bytes()).hexdigest()


BAD_LINES: dict[str, tuple[bytes, str]] = {
    "cut off": (b'{"prompt": 1', "not JSON (Expecting ',' delimiter, column 13)"),
    "a number": (b"7", "not a JSON object"),
    "a list": (b'["a"]', "not a JSON object"),
    "two objects": (b'{"a": 1} {"b": 2}', "not JSON (Extra data, column 10)"),
    "old line ends": (b'{"a": 1}\r{"b": 2}', "not JSON (Extra data"),
    "a key twice": (b'{"text": "a", "text": "b"}', "key 'text' appears twice"),
    "NaN": (b'{"text": NaN}', "holds NaN"),
    "a long number": (b'{"text": ' + b"1" * 10_000 + b"}", "is too long"),
    "bottomless": (b"[" * 100_000, "nested too deeply"),
    "Latin-1": (b'{"text": "caf\xe9"}', "not UTF-8 text (byte 13)"),
    "half a character": (b'{"text": "\\ud800"}', "half of a character"),
    "escapes": (b'{"\x1b[2J": ', "not JSON"),
}


@pytest.mark.parametrize(("line", "words"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_refused_by_its_number(tmp_path: Path, line: bytes, words: str) -> None:
    error = refusal(write(tmp_path / "train.jsonl", LINE * 16 + line + b"\n" + LINE))
    assert error.message.startswith("train.jsonl, line 17: ")
    assert words in error.message


def test_a_bad_entry_of_an_array_is_refused_by_its_number(tmp_path: Path) -> None:
    error = refusal(write(tmp_path / "train.json", b'[{"text": "a"}, 7]'))
    assert error.message == "train.json, entry 2: not a JSON object with named fields"
    error = refusal(write(tmp_path / "train.json", b'[{"text": "a"},\n {"text": ]'))
    assert error.message == "train.json: not JSON (Expecting value, line 2 column 11)"


BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "empty": ("d.jsonl", b"", "it is empty"),
    "blank": ("d.jsonl", b"\n \r\n\n", "no examples"),
    "only a BOM": ("d.jsonl", b"\xef\xbb\xbf", "no examples"),
    "an empty array": ("d.json", b"[]", "no examples"),
    "only a header": ("d.csv", b"prompt,completion\n", "no examples"),
    "UTF-16": ("d.jsonl", "{}".encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": ("d.jsonl", '{"text": "a"}'.encode("utf-16-le"), "not JSON"),
    "UTF-16 CSV": ("d.csv", "a,b\n".encode("utf-16-le"), "NUL"),
    "Latin-1 CSV": ("d.csv", b"text\nok\ncaf\xe9\n", "line 3: not UTF-8 text (byte 3)"),
    "packed under a plain name": ("d.jsonl", gzip.compress(LINE), "gzip archive"),
    "zipped": ("d.jsonl", b"PK\x03\x04zip", "zip archive"),
    "a page": ("d.jsonl", b"<!doctype html>", "HTML"),
    "a pointer": ("d.parquet", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "Parquet by another name": ("d.csv", b"PAR1....PAR1", "Parquet file"),
    "damaged Parquet": ("d.parquet", b"PAR1....PAR1", "not readable as Parquet"),
    "text called Parquet": ("d.parquet", LINE, "not readable as Parquet"),
    "cut gzip": ("d.jsonl.gz", gzip.compress(LINE * 100)[:-12], "gzip archive is damaged"),
    "text called gzip": ("d.jsonl.gz", LINE, "gzip archive is damaged"),
    "a column twice": ("d.csv", b"text,text\na,b\n", "two columns are called text"),
    "semicolons": ("d.csv", b"text;label\na;b\n", "not separated by commas"),
    "too few values": ("d.csv", b"a,b\n1,2\n3\n", "d.csv, line 3: 1 values for 2 columns"),
    "too many values": ("d.csv", b"a,b\n1,2,3\n", "d.csv, line 2: 3 values for 2 columns"),
    "an open quote": ("d.csv", b'a,b\n1,2\n3,"4\n5,6\n', "d.csv, line 3: not CSV"),
    "old line ends": ("d.csv", b"a,b\r1,2\r", "d.csv, line 1: not CSV"),
    "another format": ("d.tsv", b"text\na\n", "neither a kind of file that is known"),
}


@pytest.mark.parametrize(("name", "data", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_is_no_data_is_refused_in_a_line(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    assert words in refusal(write(tmp_path / name, data)).message


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "a folder" in refusal(tmp_path / "folder.jsonl").message
    assert "a folder" in refusal(tmp_path).message
    assert "not a regular file" in refusal(tmp_path / "pipe.jsonl").message
    assert "No such file" in refusal(tmp_path / "missing.jsonl").message
    assert "No such file" in refusal(tmp_path / "*.jsonl").message
    assert "web address" in refusal("https://example.org/train.jsonl.zip").message
    for strange in ("", ".", "a\0b.jsonl", "\0", "owner/name/deeper", "-", "o/n:c:d"):
        refusal(strange)


def test_a_gzip_bomb_stops_before_it_has_unpacked(tmp_path: Path) -> None:
    blank = gzip.compress(b"\n" * 2**26)
    inside = gzip.compress(b'{"text": "' + b"a" * 2**26)
    start = time.process_time()
    for packed in (blank, inside, gzip.compress(LINE) + blank):
        error = refusal(write(tmp_path / "bomb.jsonl.gz", packed))
        assert "unpacks to more than 100 times its size" in error.message
    assert time.process_time() - start < 5  # whatever else the machine does


def test_a_line_without_an_end_is_refused_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_formats, "MAX_LINE_BYTES", 1000)
    long = json.dumps({"text": "a" * 980}).encode()
    assert len(read_rows(write(tmp_path / "ok.jsonl", long)).entries) == 1
    for name, data in {
        "d.jsonl": LINE + b'{"text": "' + b"a" * 10_000,
        "d.csv": b"a" * 2000,
    }.items():
        assert "longer than 1,000 bytes" in refusal(write(tmp_path / name, data)).message


def test_a_line_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    text = "word " * 2_000_000
    for source in (
        write(tmp_path / "d.jsonl", json.dumps({"text": text}).encode()),
        write(tmp_path / "d.csv", f"text\n{text}\n".encode()),
    ):
        assert read_rows(source).entries[0].values["text"] == text


def test_columns_get_other_names_and_what_is_left_over_is_known(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": "a", "id": 7, "prompt": "its own"}]
    source = str(write_jsonl(tmp_path / "d.jsonl", rows))
    found = read_rows(source, {"question": "prompt", "answer": "completion"})
    assert found.entries[0].values == {"prompt": "q", "completion": "a"}
    assert found.mapped == {"prompt", "completion"}
    assert found.unused == ("id", "prompt")
    assert found.digest == read_rows(source).digest


@pytest.mark.parametrize(
    ("columns", "message", "hint"),
    [
        ({"questoin": "prompt"}, "it has no column 'questoin'", "did you mean question?"),
        ({"question": "promt"}, "cannot become 'promt'", "did you mean prompt?"),
        ({"question": "prompt", "answer": "prompt"}, "two columns are to become one", "map one"),
        ({"zzz": "prompt"}, "it has no column 'zzz'", "there are: question, answer"),
    ],
)
def test_a_column_that_cannot_be_mapped_is_answered_with_the_nearest(
    tmp_path: Path, columns: dict[str, str], message: str, hint: str
) -> None:
    source = write_jsonl(tmp_path / "d.jsonl", [{"question": "q", "answer": "a"}])
    error = refusal(source, columns)
    assert message in error.message
    assert hint in str(error.hint)


def test_parquet_reads_no_more_columns_than_it_needs(tmp_path: Path) -> None:
    messages: list[list[dict[str, Any]]] = [
        [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": ["t"]}]
    ]
    table = {"messages": messages, "image": [b"\xff" * 100]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "d.parquet")
    found = read_rows(str(tmp_path / "d.parquet"))
    assert found.unused == ("image",)
    # Fields that a message lacks come out of Parquet as nulls, and must not stay.
    assert found.entries[0].values == {"messages": messages[0]}


def test_parquet_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    twins = pyarrow.table([["a"], ["b"]], names=["text", "text"])
    pyarrow.parquet.write_table(twins, tmp_path / "d.parquet")
    assert "two columns are called text" in refusal(tmp_path / "d.parquet").message


def test_every_row_of_the_shared_data_is_read(tmp_path: Path) -> None:
    banking = read_rows(str(shared_or_skip("banking77/train.csv")), {"category": "completion"})
    assert len(banking.entries) == 10_003
    gsm8k = read_rows(str(shared_or_skip("gsm8k/test.jsonl")), {"question": "prompt"})
    assert len(gsm8k.entries) == 1_319
    made = read_rows(str(banking77_messages(tmp_path / "b.jsonl", n=77)))
    assert len({row.values["messages"][2]["content"] for row in made.entries}) > 60
