"""Training data from where the user keeps it: a file here, or a data set on the Hub."""

import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spectrum_ft.checkpoints.file_reading import identity, open_regular
from spectrum_ft.errors import CheckpointError, DataError
from spectrum_ft.tuning.data.formats import Opened, read_csv, read_json, read_parquet
from spectrum_ft.tuning.data.hub import is_data_set_id, read_data_set
from spectrum_ft.tuning.data.rows import FIELDS, Placed, Rows, check_targets, gather_rows

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_EXPANSION = 100
"""How many times larger than its file a gzip archive may be; text reaches ten to thirty."""

_FREE_BYTES = 2**22  # any archive may hold this much: the beginning may compress by any ratio

Reader = Callable[[Opened, str, Collection[str]], Placed]
"""Yields the rows of an open file of that name, for the columns wanted."""

_FORMATS: Mapping[str, Reader] = {
    ".jsonl.gz": lambda file, name, _: read_json(file, name),
    ".jsonl": lambda file, name, _: read_json(file, name),
    ".json": lambda file, name, _: read_json(file, name),
    ".csv": lambda file, name, _: read_csv(file, name),
    ".parquet": read_parquet,
}

_STARTS = (
    (b"\x1f\x8b", ".gz", "a gzip archive", "give it a name that ends in .jsonl.gz, or unpack it"),
    (b"PAR1", ".parquet", "a Parquet file", "give it a name that ends in .parquet"),
    (b"PK\x03\x04", "", "a zip archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "", "a Zstandard archive", "unpack it first"),
    (b"BZh", "", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ\x00", "", "an xz archive", "unpack it first"),
    (b"\xff\xfe", "", "text in UTF-16", "save it as UTF-8"),
    (b"\xfe\xff", "", "text in UTF-16", "save it as UTF-8"),
    (b"version https://git-lfs", "", "a Git LFS pointer, not the file", "run `git lfs pull`"),
    (b"<", "", "an HTML or XML page, perhaps a failed download", "download the file again"),
)
"""How a file may begin, the end of the name that allows it, what it is, and what to do."""


def read_rows(source: str, columns: Mapping[str, str] | None = None) -> Rows:
    """Every row of the data set that `source` names: a path, or `owner/name` on the Hub.

    Paths end in .jsonl, .json, .csv, .parquet or .jsonl.gz. A Hub id may go on with `:config` and
    with `@revision`; its split `train` is read. `columns` gives the file's columns names in
    `FIELDS`. Raises `DataError` for what cannot be read, with the line at fault.
    """
    columns = columns or {}
    check_targets(columns)
    ending = None if "://" in source else _ending(source)
    if ending is None:
        if not os.path.lexists(source.replace("\0", "")) and is_data_set_id(source):
            return read_data_set(source, columns)
        raise _unknown(source)
    name = Path(source).name
    with _reading(source) as file:
        before = identity(file)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        opened = _opened(file, source, ending)
        found = _FORMATS[ending](opened, name, {*FIELDS, *columns})
        rows = gather_rows(found, source, digest, columns)
        if identity(file) != before:
            raise DataError(
                f"{source}: changed while it was being read", "wait until it is complete"
            )
    return rows


def _ending(source: str) -> str | None:
    lowered = source.lower()
    return next((ending for ending in _FORMATS if lowered.endswith(ending)), None)


def _unknown(source: str) -> DataError:
    where = source or "(an empty name)"
    if re.match(r"[a-z0-9+]+://", source, re.IGNORECASE):
        return DataError(f"{where}: a web address", "download it first, and give the file")
    if os.path.isdir(source.replace("\0", "")):
        return DataError(f"{where}: a folder", f"give one file in it: {', '.join(_FORMATS)}")
    return DataError(
        f"{where}: neither a kind of file that is known nor a data set's id",
        f"give a file that ends in {', '.join(_FORMATS)}, or owner/name on the Hub",
    )


@contextmanager
def _reading(source: str) -> Iterator[io.FileIO]:
    """`source` open for reading; what fails while it is open raises `DataError` as well."""
    if os.path.isdir(source.replace("\0", "")):
        raise _unknown(source)
    try:
        raw = open_regular(Path(source))
    except CheckpointError as fault:
        raise DataError(fault.message, "check that it is there and yours to read") from None
    except ValueError:  # a NUL in the name
        raise DataError(f"{source}: not the name of a file", "check the spelling") from None
    with raw:
        try:
            yield raw
        except (gzip.BadGzipFile, EOFError, zlib.error) as fault:
            raise DataError(
                f"{source}: the gzip archive is damaged ({fault})", "download or pack it again"
            ) from None
        except OSError as fault:
            raise DataError(
                f"{source}: cannot be read ({fault.strerror or fault})",
                "check the disk that it is on",
            ) from None


def _opened(file: io.FileIO, source: str, ending: str) -> Opened:
    """The file's content, unpacked if its name says so; `DataError` if it plainly is no data."""
    buffered = io.BufferedReader(file, 2**20)
    packed = ending.endswith(".gz")
    start = buffered.peek(64)
    if not start:
        raise DataError(f"{source}: it is empty", "give a file with at least one example")
    for magic, allowed, what, remedy in _STARTS:
        if start.startswith(magic) and not (allowed and ending.endswith(allowed)):
            raise DataError(f"{source}: it is {what}", remedy)
    return io.BufferedReader(_Unpacking(buffered, source), 2**20) if packed else buffered


class _Unpacking(io.RawIOBase):
    """What a gzip archive holds; `DataError` once that is far more than was read of the archive."""

    def __init__(self, file: "io.BufferedReader[io.FileIO]", source: str) -> None:
        self._file = file
        self._source = source
        self._content = gzip.GzipFile(fileobj=file, mode="rb")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """The next bytes, as many as there is room for or fewer."""
        count = self._content.readinto(buffer)
        if self._content.tell() > _FREE_BYTES + MAX_EXPANSION * self._file.tell():
            raise DataError(
                f"{self._source}: unpacks to more than {MAX_EXPANSION} times its size",
                "unpack it yourself if that is right, and give the unpacked file",
            )
        return count
