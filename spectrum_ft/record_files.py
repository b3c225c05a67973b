"""Records as files: strict JSON out, checked JSON in."""

import difflib
import json
import sys
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from spectrum_ft.errors import RecordError
from spectrum_ft.strict_json import JsonFault, parse_json

Record = TypeVar("Record")

MAX_RECORD_BYTES = 512 * 2**20
"""Ten times the scan of a 28,800-matrix mixture of experts."""

STDIN = "-"


def to_json(record: Any) -> str:
    """`record` as strict JSON with sorted keys: one line a field, one line an item of its lists."""
    table = msgspec.to_builtins(record)
    fields = [f"{_dump(key)}: {_field(table[key])}" for key in sorted(table)]
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _field(value: Any) -> str:
    if isinstance(value, list | tuple) and value:
        return "[\n" + ",\n".join(_dump(item) for item in value) + "\n]"
    return _dump(value)


def _dump(value: Any) -> str:
    # ASCII only: a raw U+009B in a tensor's name would command the terminal that shows it.
    return json.dumps(value, sort_keys=True, allow_nan=False)


def read_bytes_of(path: str) -> bytes:
    """The bytes of a record file, or of standard input for `-`; `RecordError` if unreadable."""
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read(MAX_RECORD_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(MAX_RECORD_BYTES + 1)
    except OSError as fault:
        raise RecordError(f"{path}: cannot be read ({fault.strerror})") from None
    if len(data) > MAX_RECORD_BYTES:
        raise RecordError(f"{path}: larger than {MAX_RECORD_BYTES:,} bytes")
    return data


def parse_record(data: bytes, path: str) -> dict[str, Any]:
    """The JSON object in `data`; `RecordError` naming `path` if it holds anything else."""
    if not data.strip():
        raise RecordError(f"{path}: empty", "give a file written by `spectrum scan -o`")
    try:
        table = parse_json(data.removeprefix(b"\xef\xbb\xbf"))
    except JsonFault as fault:
        raise RecordError(f"{path}: {fault}", "give a file written by `spectrum`") from None
    if not isinstance(table, dict):
        raise RecordError(f"{path}: not a JSON object", "give a file written by `spectrum`")
    return table


def to_record(table: dict[str, Any], record: type[Record], schema: str, path: str) -> Record:
    """`table` as a `record` of `schema`; `RecordError` naming the field that does not fit."""
    check_schema(table.get("schema"), schema, path)
    try:
        return msgspec.convert(table, record)
    except msgspec.ValidationError as fault:
        raise RecordError(f"{path}: {fault}", "it was edited or damaged; make it again") from None


def check_schema(found: Any, expected: str, path: str) -> None:
    """Raise `RecordError` unless `found` is the layout `expected`, or an older version of it."""
    name, version = expected.split("@")
    found_name, _, found_version = str(found).partition("@")
    if found_name != name or not found_version.isdecimal():
        raise RecordError(
            f"{path}: not a {name} record but {ascii(found)[:60]}", f"give a {name} file"
        )
    if int(found_version[:9]) > int(version):
        raise RecordError(
            f"{path}: written by a newer version ({ascii(found)[1:-1]})", "upgrade spectrum-ft"
        )


def refuse_unknown(keys: set[str], known: set[str], where: str) -> None:
    """Raise `RecordError` for the first key that is not known, with the closest one as a hint."""
    for key in sorted(keys - known):
        _unknown(key, known, where)


def _unknown(key: str, known: set[str], where: str) -> NoReturn:
    close = difflib.get_close_matches(key, known, n=1)
    raise RecordError(
        f"{where}: unknown key {ascii(key)[:60]}",
        f"did you mean {close[0]}?" if close else f"known keys: {', '.join(sorted(known))}",
    )
