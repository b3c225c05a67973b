"""The kinds of data files: each reader yields rows with their places, and refuses by the line."""

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from spectrum_ft.errors import DataError, few_names
from spectrum_ft.strict_json import JsonFault, parse_json
from spectrum_ft.tuning.data.rows import Placed, without_nulls

MAX_LINE_BYTES = 64 * 2**20
"""The longest line, and so the longest example, that is read."""
MAX_ARRAY_BYTES = 2**30
"""The largest JSON array: unlike lines, it has to be in memory as a whole."""


class Opened(Protocol):
    """A file open at its start, with a buffer that can be looked into."""

    def peek(self, size: int, /) -> bytes:
        """What comes next, at least one byte of it unless the file ends here."""

    def read(self, size: int, /) -> bytes:
        """The next bytes."""

    def readline(self, size: int, /) -> bytes:
        """The rest of the line, or the first bytes of it."""


_BOM = b"\xef\xbb\xbf"
_AS_UTF8 = "save the file as UTF-8"
_ONE_A_LINE = "give one JSON object a line, or one array of objects"


def read_json(file: Opened, name: str) -> Placed:
    """Rows of JSON objects, one a line, or of one array of objects: the first sign decides."""
    if file.peek(1024).removeprefix(_BOM).lstrip()[:1] == b"[":
        yield from _array(file, name)
        return
    for number, line in _lines(file, name):
        if line.strip():
            place = f"{name}, line {number}"
            yield place, _object(_parsed(line.rstrip(), place), place)


def _array(file: Opened, name: str) -> Placed:
    data = file.read(MAX_ARRAY_BYTES + 1)
    if len(data) > MAX_ARRAY_BYTES:
        raise DataError(
            f"{name}: a JSON array of more than {MAX_ARRAY_BYTES:,} bytes", "give JSON lines"
        )
    for number, value in enumerate(_parsed(data.removeprefix(_BOM), name), start=1):
        place = f"{name}, entry {number}"
        yield place, _object(value, place)


def _parsed(data: bytes, place: str) -> Any:
    try:
        return parse_json(data)
    except JsonFault as fault:
        words = str(fault).removeprefix("it is ")
        if b"\n" not in data:
            words = words.replace(", line 1 column", ", column")  # the place says which line
        encoded = b"\0" in data or words.startswith("not UTF-8")
        raise DataError(f"{place}: {words}", _AS_UTF8 if encoded else _ONE_A_LINE) from None


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{place}: not a JSON object with named fields", _ONE_A_LINE)
    return value


def read_csv(file: Opened, name: str) -> Placed:
    """Rows of comma-separated text whose first line names the columns."""
    lines = _Texts(file, name)
    with _long_fields():
        records = csv.reader(lines, strict=True)
        header = _next_record(records, lines)
        if not header:
            raise DataError(f"{name}: its first line is empty", "begin it with the columns' names")
        _check_header(header, name)
        while (record := _next_record(records, lines)) is not None:
            if record and len(record) != len(header):
                raise DataError(
                    f"{lines.place}: {len(record)} values for {len(header)} columns",
                    "put double quotes around values that hold commas or line breaks",
                )
            if record:
                yield lines.place, dict(zip(header, record, strict=True))


def _next_record(records: Iterator[list[str]], lines: "_Texts") -> list[str] | None:
    lines.start_record()
    try:
        return next(records, None)
    except csv.Error as fault:
        raise DataError(
            f"{lines.place}: not CSV ({fault})", "separate by commas, quote by double quotes"
        ) from None


def _check_header(header: list[str], name: str) -> None:
    _refuse_twins(header, name)
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise DataError(f"{name}: its columns are not separated by commas", "save it with commas")


def _refuse_twins(columns: Sequence[str], name: str) -> None:
    twice = sorted(column for column, number in Counter(columns).items() if number > 1)
    if twice:
        raise DataError(f"{name}: two columns are called {few_names(twice)}", "rename one of them")


class _Texts(Iterator[str]):
    """The lines of a CSV file as text, and the place where the record being read began."""

    def __init__(self, file: Opened, name: str) -> None:
        self._lines = _lines(file, name)
        self._name = name
        self._number = 0
        self.place = name

    def start_record(self) -> None:
        """Say that what is read next begins a record."""
        self.place = f"{self._name}, line {self._number + 1}"

    def __next__(self) -> str:
        self._number, line = next(self._lines)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as fault:
            raise DataError(
                f"{self._name}, line {self._number}: not UTF-8 text (byte {fault.start})", _AS_UTF8
            ) from None
        if "\0" in text:
            raise DataError(f"{self._name}, line {self._number}: it holds NUL bytes", _AS_UTF8)
        return text


@contextmanager
def _long_fields() -> Iterator[None]:
    """Fields as long as a line may be inside; the csv module's own limit before and after."""
    limit = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _lines(file: Opened, name: str) -> Iterator[tuple[int, bytes]]:
    """The file's lines and their numbers from 1; only a line feed ends one."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise DataError(
                f"{name}, line {number}: longer than {MAX_LINE_BYTES:,} bytes",
                "give one example a line, lines ended by line feeds",
            )
        yield number, line.removeprefix(_BOM) if number == 1 else line


def read_parquet(file: Opened, name: str, wanted: Collection[str]) -> Placed:
    """Rows of a Parquet file; of columns that are not `wanted` there is only the name."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        table = ParquetFile(file)
        names = table.schema_arrow.names
        _refuse_twins(names, name)
        for batch in table.iter_batches(1000, columns=[n for n in names if n in wanted]):
            for values in batch.to_pylist():
                number += 1
                yield f"{name}, row {number}", dict.fromkeys(names) | without_nulls(values)
    except (pyarrow.ArrowException, ValueError, OSError) as fault:
        where = f"{name}, row {number + 1}" if number else name
        words = str(fault).split("\n")[0][:150]
        raise DataError(
            f"{where}: not readable as Parquet ({words})", "write or download it again"
        ) from None
