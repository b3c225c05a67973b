"""The header of a GGUF file, read within limits: its metadata, and where its tensors lie.

A GGUF file, all little endian: the letters `GGUF`, the version (u32), the number of tensors and
of metadata pairs (u64 each), the pairs, one info per tensor, padding up to the alignment, data.

Every count and length in it is a stranger's claim, so each is compared with a cap and with the
bytes that are left before anything is read or kept. The caps sit well above real files (some
3,000 tensors, 60 pairs, 800,000 token strings) and low enough that any file whatever gets its
verdict within a second and 50 MB. Plain reads, no mmap: a file that shrinks while it is mapped
kills the process.
"""

import math
import os
import re
import struct
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from spectrum_ft.checkpoints.file_reading import describe_content, identity, open_regular
from spectrum_ft.checkpoints.gguf_cursor import BUFFER_BYTES, DAMAGED, U64, Cursor, shown
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.checkpoints.weight_files import LocalFile
from spectrum_ft.errors import CheckpointError

Scalar = str | int | float | bool

_VERSIONS = (2, 3)
_MAX_TENSORS = 1 << 15
_MAX_PAIRS = 1 << 10
_MAX_ARRAY_ITEMS = 10_000_000
# Over all arrays: strings, unlike numbers, must be walked one by one.
_MAX_ARRAY_STRINGS = 1_500_000
_MAX_ARRAY_TEXT_BYTES = 64 << 20
_MAX_STRING_BYTES = 64 << 20
_MAX_KEPT_BYTES = 256 << 10  # a chat template is kept; a whole tokenizer.json in a string is not
_MAX_KEY_BYTES = 64 << 10
_MAX_DIMS = 4  # GGML_MAX_DIMS
_MAX_INT64 = 2**63 - 1
# Types have been added one by one from 0 to 41: up to here an unknown id may be a newer type
# than ours, beyond it (or negative, which reads as 2^31 and more) it is damage.
_MAX_TYPE_ID = 1023
_DEFAULT_ALIGNMENT = 32
_MAX_ALIGNMENT = 1 << 20

_U32 = struct.Struct("<I")
_UINT32, _STRING, _ARRAY = 4, 8, 9
_SCALARS = {
    number: struct.Struct(f"<{letter}")
    for number, letter in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"
    }.items()
}  # fmt: skip
# The names under which the gguf package files the preamble, beside the keys of the file.
_RESERVED_KEYS = frozenset({"GGUF.version", "GGUF.tensor_count", "GGUF.kv_count"})
_FLOAT_WORDS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
_SPLIT_NAME = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.ASCII)

_CONVERT = "convert the model with a current llama.cpp, or give a safetensors folder"
_MERGE = "merge the parts with `llama-gguf-split --merge`, or give a safetensors folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What a GGUF file says before its data."""

    entries: tuple[TensorEntry, ...]
    """Its tensors in the order of the file; a type that is unknown to us has 0 bytes."""
    metadata: Mapping[str, Scalar]
    """Its scalars and strings; arrays and strings of more than 256 KiB are left out."""


class _TensorInfo(NamedTuple):
    """One tensor info as the file states it; `dims` begins with the fastest axis."""

    name: str
    dims: tuple[int, ...]
    type_id: int
    offset: int


class _DataType(NamedTuple):
    """A ggml type: our word for it, and how many bytes hold a block of how many weights."""

    word: str
    block_size: int
    block_bytes: int


def read_gguf_header(path: Path) -> GgufHeader:
    """The tensors and the metadata of the GGUF file at `path` (version 2 or 3, little endian).

    Raises CheckpointError for a file that cannot be opened, is damaged, hostile, big endian or
    one part of a split set. Within a second and 50 MB, whatever the file says.
    """
    with closing(open_regular(path)) as opened:
        try:
            with os.fdopen(opened.fileno(), "rb", BUFFER_BYTES, closefd=False) as file:
                return _read_header(Cursor(file, path, identity(opened)))
        except OSError as fault:
            problem = f"{shown(str(path), 160)}: cannot be read ({fault.strerror})"
            raise CheckpointError(problem, "check the disk that it is on") from fault


def _read_header(cursor: Cursor) -> GgufHeader:
    _read_version(cursor)
    num_tensors = _read_count(cursor, "tensors", most=_MAX_TENSORS, least_bytes=24)
    num_pairs = _read_count(cursor, "metadata pairs", most=_MAX_PAIRS, least_bytes=13)
    metadata = _read_metadata(cursor, num_pairs)
    _refuse_part_of_set(cursor, metadata)
    infos = _read_infos(cursor, num_tensors)
    alignment = _alignment(cursor, metadata)
    data_start = -(-cursor.position // alignment) * alignment
    entries = tuple(_make_entry(cursor, info, data_start, alignment) for info in infos)
    _refuse_overlaps(cursor, entries)
    return GgufHeader(entries=entries, metadata=metadata)


def _read_version(cursor: Cursor) -> None:
    magic = cursor.take(4)
    if magic not in (b"GGUF", b"FUGG"):
        known = describe_content(magic + cursor.file.read(60))
        what, hint = known or (f"a file that begins with {magic!r}", DAMAGED)
        cursor.fail(f"not a GGUF file but {what}", hint)
    raw_version = cursor.take(4)
    if magic == b"FUGG" or int.from_bytes(raw_version, "big") in _VERSIONS:
        cursor.fail("a big-endian GGUF file, which is not supported", _CONVERT)
    version = int.from_bytes(raw_version, "little")
    if version not in _VERSIONS:
        cursor.fail(f"GGUF version {version}; versions 2 and 3 are supported", _CONVERT)


def _read_count(cursor: Cursor, what: str, *, most: int, least_bytes: int) -> int:
    count = cursor.number(U64)
    if count > most:
        cursor.fail(f"says that it has {count} {what}; at most {most} are accepted")
    if count * least_bytes > cursor.num_bytes - cursor.position:
        cursor.fail(f"says that it has {count} {what}, too many for its {cursor.num_bytes} bytes")
    return count


def _read_metadata(cursor: Cursor, num_pairs: int) -> dict[str, Scalar]:
    values: dict[str, Scalar | None] = {}
    for index in range(num_pairs):
        cursor.where = f"metadata pair {index + 1} of {num_pairs}"
        key = _read_key(cursor)
        if key in values:
            cursor.fail("the key is there twice")
        kind = cursor.number(_U32)
        if key == "general.alignment" and kind != _UINT32:
            cursor.fail(f"value type {kind}, where only {_UINT32} (uint32) is allowed")
        values[key] = _read_value(cursor, kind)
    cursor.where = ""
    return {key: value for key, value in values.items() if value is not None}


def _read_key(cursor: Cursor) -> str:
    key = cursor.text(cursor.length(_MAX_KEY_BYTES))
    if not key:
        cursor.fail("an empty key")
    cursor.where = f"metadata key {key}"
    if key in _RESERVED_KEYS:
        cursor.fail("a reserved name")
    return key


def _read_value(cursor: Cursor, kind: int) -> Scalar | None:
    """The value, or None where it is not kept. `?` reads any byte but 0 as True, like ggml."""
    if kind == _ARRAY:
        _pass_array(cursor)
        return None
    if kind == _STRING:
        return _read_string(cursor)
    layout = _SCALARS.get(kind)
    if layout is None:
        cursor.fail(f"unknown value type {kind}")
    (value,) = layout.unpack(cursor.take(layout.size))
    assert isinstance(value, int | float)
    return value


def _read_string(cursor: Cursor) -> str | None:
    num_bytes = cursor.length(_MAX_STRING_BYTES)
    if num_bytes <= _MAX_KEPT_BYTES:
        return cursor.text(num_bytes)
    cursor.skip(num_bytes)
    return None


def _pass_array(cursor: Cursor) -> None:
    """Goes past an array. Its strings are not decoded: nothing of ours reads them."""
    kind = cursor.number(_U32)
    count = cursor.number(U64)
    if count > _MAX_ARRAY_ITEMS:
        cursor.fail(f"an array of {count} items; at most {_MAX_ARRAY_ITEMS} are accepted")
    if kind == _STRING:
        _pass_strings(cursor, count)
    elif kind == _ARRAY:
        cursor.fail("an array of arrays, which no reader of GGUF accepts")
    elif kind in _SCALARS:
        cursor.skip(count * _SCALARS[kind].size)
    else:
        cursor.fail(f"an array of unknown value type {kind}")


def _pass_strings(cursor: Cursor, count: int) -> None:
    cursor.array_strings += count
    if cursor.array_strings > _MAX_ARRAY_STRINGS:
        cursor.fail(f"more than {_MAX_ARRAY_STRINGS} strings in arrays")
    while count:
        chunk = cursor.peek()
        end = 0
        while count and end + 8 <= len(chunk):
            end += 8 + U64.unpack_from(chunk, end)[0]
            count -= 1
        cursor.skip(end or 8)  # too little left for a length: this fails
        cursor.array_text_bytes += end
        if cursor.array_text_bytes > _MAX_ARRAY_TEXT_BYTES:
            cursor.fail(f"more than {_MAX_ARRAY_TEXT_BYTES} bytes of strings in arrays")


def _refuse_part_of_set(cursor: Cursor, metadata: Mapping[str, Scalar]) -> None:
    count = metadata.get("split.count", 1)
    if count not in (0, 1):
        cursor.fail(f"one part of a split set (split.count is {shown(str(count), 40)})", _MERGE)
    match = _SPLIT_NAME.search(cursor.path.name)
    if match and int(match[1]) > 1:
        cursor.fail("by its name one part of a split set", _MERGE)


def _alignment(cursor: Cursor, metadata: Mapping[str, Scalar]) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    assert isinstance(alignment, int)  # any other type was refused as it was read
    if alignment.bit_count() != 1 or alignment > _MAX_ALIGNMENT:
        cursor.fail(f"general.alignment is {alignment}, not a power of two up to 1 MiB")
    return alignment


def _read_infos(cursor: Cursor, num_tensors: int) -> list[_TensorInfo]:
    infos: dict[str, _TensorInfo] = {}
    for index in range(num_tensors):
        cursor.where = f"tensor {index + 1} of {num_tensors}"
        info = _read_info(cursor)
        if info.name in infos:
            cursor.fail("the name is there twice")
        infos[info.name] = info
    cursor.where = ""
    return list(infos.values())


def _read_info(cursor: Cursor) -> _TensorInfo:
    name = cursor.text(cursor.length(_MAX_KEY_BYTES))
    if not name:
        cursor.fail("an empty name")
    cursor.where = f"tensor {name}"
    num_dims = cursor.number(_U32)
    if not 1 <= num_dims <= _MAX_DIMS:
        cursor.fail(f"{num_dims} dimensions; 1 to {_MAX_DIMS} are allowed")
    *dims, type_id, offset = struct.unpack(f"<{num_dims}QIQ", cursor.take(8 * num_dims + 12))
    return _TensorInfo(name, tuple(dims), type_id, offset)


def _make_entry(cursor: Cursor, info: _TensorInfo, data_start: int, alignment: int) -> TensorEntry:
    cursor.where = f"tensor {info.name}"
    dtype, num_bytes = _measure(cursor, info)
    if info.offset % alignment:
        cursor.fail(f"offset {info.offset} is not a multiple of the alignment {alignment}")
    begin = data_start + info.offset
    if begin + num_bytes > cursor.num_bytes:
        cursor.fail(
            f"its {num_bytes} bytes begin at byte {begin}, but the file ends at {cursor.num_bytes}"
        )
    return TensorEntry(
        name=info.name,
        shape=info.dims[::-1],
        dtype=dtype,
        file=LocalFile(path=cursor.path, identity=cursor.identity),
        offset=begin,
        num_bytes=num_bytes,
    )


def _measure(cursor: Cursor, info: _TensorInfo) -> tuple[str, int]:
    """The word for a tensor's type and the bytes that it takes: 0 when the type is unknown."""
    num_params = math.prod(info.dims)
    if max(num_params, *info.dims) > _MAX_INT64:
        cursor.fail(f"the dimensions {list(info.dims)} are beyond 64 bits")
    if info.type_id > _MAX_TYPE_ID:
        cursor.fail(f"ggml type {info.type_id}, which does not exist")
    data_type = _data_types().get(info.type_id)
    if data_type is None:
        return f"ggml type {info.type_id}", 0
    if info.dims[0] % data_type.block_size:
        cursor.fail(
            f"rows of {info.dims[0]} weights, but {data_type.word} packs them "
            f"in blocks of {data_type.block_size}"
        )
    return data_type.word, num_params // data_type.block_size * data_type.block_bytes


@cache
def _data_types() -> dict[int, _DataType]:
    """The ggml types that the gguf package knows, by id."""
    import gguf  # here, since it costs 60 ms that other checkpoints need not pay

    return {
        int(kind): _DataType(_FLOAT_WORDS.get(kind.name, kind.name), block_size, block_bytes)
        for kind, (block_size, block_bytes) in gguf.GGML_QUANT_SIZES.items()
    }


def _refuse_overlaps(cursor: Cursor, entries: tuple[TensorEntry, ...]) -> None:
    end, owner = 0, ""
    for entry in sorted(entries, key=lambda entry: (entry.offset, entry.num_bytes)):
        if entry.offset < end:
            cursor.where = f"tensor {entry.name}"
            cursor.fail(f"overlaps the tensor {shown(owner, 80)}, which ends at byte {end}")
        end, owner = entry.offset + entry.num_bytes, entry.name
