"""The header of a safetensors file, checked before anything trusts it.

Format: 8 bytes of little-endian header length, a JSON header, then the tensors' bytes without
gaps (https://huggingface.co/docs/safetensors). Nothing is allocated from an unchecked length.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from typing_extensions import TypeIs

from spectrum_ft.checkpoints.file_reading import describe_content, identity, reading
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.checkpoints.weight_files import LocalFile, WeightFile
from spectrum_ft.errors import CheckpointError
from spectrum_ft.strict_json import JsonFault, parse_json

MAX_HEADER_BYTES = 100_000_000
"""The upstream limit of the format."""

MAX_RANK = 64
"""What numpy can hold."""

_READABLE = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}

_BITS = {
    **dict.fromkeys(["F64", "I64", "U64", "C64"], 64),
    **dict.fromkeys(["F32", "I32", "U32"], 32),
    **dict.fromkeys(["F16", "BF16", "I16", "U16"], 16),
    **dict.fromkeys(["F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"], 8),
    **dict.fromkeys(["F8_E4M3FNUZ", "F8_E5M2FNUZ"], 8),
    **dict.fromkeys(["F6_E2M3", "F6_E3M2"], 6),
    "F4": 4,
}


def read_safetensors_header(path: Path) -> tuple[TensorEntry, ...]:
    """The tensors that `path` holds, in the order of their bytes.

    Raises `CheckpointError`, naming the file and the tensor, for whatever is not a whole,
    well-formed safetensors file. No tensor data is read.
    """
    with reading(path) as file:
        opened = identity(file)

        def read(offset: int, num_bytes: int) -> bytes:
            file.seek(offset)
            return file.read(num_bytes)

        return entries_of(LocalFile(path=path, identity=opened), opened.num_bytes, read)


def entries_of(
    file: WeightFile, size: int, read: Callable[[int, int], bytes]
) -> tuple[TensorEntry, ...]:
    """The tensors that `file` of `size` bytes holds, in the order of their bytes.

    `read(offset, num_bytes)` gives parts of its header, which may be shorter at the file's end;
    nothing is asked of it that a real header would not take. Raises as `read_safetensors_header`.
    """
    start = read(0, min(64, size))
    if len(start) < 8:
        _refuse(file, f"too short for a safetensors file ({size} bytes)")
    length = int.from_bytes(start[:8], "little")
    if length > min(MAX_HEADER_BYTES, size - 8) or not _may_be_json(start[8:]):
        _refuse_start(file, start, length, size)
    try:
        table = parse_json(read(8, length))
    except JsonFault as fault:
        _refuse(file, f"bad header: {fault}")
    return _entries(file, size, table, data_start=8 + length)


def _refuse(file: WeightFile, what: str, hint: str = "download the file again") -> NoReturn:
    raise CheckpointError(f"{file.name}: {what}", hint)


def _may_be_json(header: bytes) -> bool:
    """Whether an object may begin here. The format says `{`; its reader takes blanks before it."""
    return header.lstrip(b" \t\r\n")[:1] in (b"{", b"")


def _refuse_start(file: WeightFile, start: bytes, length: int, size: int) -> NoReturn:
    known = describe_content(start)
    # The length of a real header may begin with the byte of a pickle or of a page.
    is_real = length < 2**32 and _may_be_json(start[8:])
    if known is not None and not is_real:
        _refuse(file, f"not a safetensors file but {known[0]}", known[1])
    if length > MAX_HEADER_BYTES:
        _refuse(file, f"a header of {length:,} bytes; at most {MAX_HEADER_BYTES:,} are allowed")
    if length > size - 8:
        _refuse(file, f"truncated: the header takes {length:,} bytes, the file has {size:,}")
    _refuse(file, "not a safetensors file: its header is not a JSON object")


def _entries(
    file: WeightFile, size: int, table: dict[str, Any], data_start: int
) -> tuple[TensorEntry, ...]:
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _refuse(file, "bad header: __metadata__ is not a table of strings")
    entries = [_entry(file, name, info, data_start) for name, info in table.items()]
    entries.sort(key=lambda entry: (entry.offset, entry.num_bytes))
    expected = data_start
    for entry in entries:
        if entry.offset != expected:
            _refuse(file, f"bad header: {ascii(entry.name)[:200]} overlaps or leaves a gap")
        expected += entry.num_bytes
    missing = expected - size
    if missing > 0:
        _refuse(file, f"truncated: {missing:,} bytes of tensor data are missing")
    if missing < 0:
        _refuse(file, f"{-missing:,} unexpected bytes after the last tensor")
    return tuple(entries)


def _entry(file: WeightFile, name: str, info: Any, data_start: int) -> TensorEntry:
    shown = ascii(name)[:120]
    if not isinstance(info, dict):
        _refuse(file, f"bad header: {shown} is not a table")
    dtype, shape, offsets = (info.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        _refuse(file, f"bad header: {shown} has a bad shape or bad data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        _refuse(file, f"{shown} has the unknown type {ascii(dtype)[:40]}", "upgrade spectrum-ft")
    if len(shape) > MAX_RANK or math.prod(max(extent, 1) for extent in shape) >= 2**63:
        _refuse(file, f"bad header: {shown} has a shape beyond all bounds")
    begin, end = offsets
    if (end - begin) * 8 != math.prod(shape) * _BITS[dtype]:
        extents = str(shape)[:80]
        _refuse(file, f"bad header: {shown} of {extents} {dtype} cannot take {end - begin:,} bytes")
    return TensorEntry(
        name=name,
        shape=tuple(shape),
        dtype=_READABLE.get(dtype, dtype),
        file=file,
        offset=data_start + begin,
        num_bytes=end - begin,
    )


def _naturals(values: Any) -> TypeIs[list[int]]:
    """Whether `values` is a list of whole numbers from 0 on; True and 2.0 are not."""
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)
