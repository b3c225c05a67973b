"""From the bytes of a tensor to its values in float32, or float64 where it is stored so."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.tensors import TensorEntry

_FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
_INTEGERS = ("I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")
_SCALED = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
_REASONS = {
    **{word: f"integers ({word}) are not weights" for word in _INTEGERS},
    **{word: f"8-bit floats ({word}) without a scale" for word in _SCALED},
    "BOOL": "truth values (BOOL) are not weights",
    "C64": "complex numbers (C64) are not real weights",
    "F4": "packed 4-bit values (F4)",
    "F6_E2M3": "packed 6-bit values (F6_E2M3)",
    "F6_E3M2": "packed 6-bit values (F6_E3M2)",
    "F8_E8M0": "scale factors (F8_E8M0) are not weights",
}
# Weights per call of a dequantizer, which holds about ten temporaries of that size in float32.
# Fastest of 2^14 to 2^20 for Q4_1, Q8_0 and Q6_K (they then fit in a core's cache).
_CHUNK_PARAMS = 1 << 17


def unreadable_reason(entry: TensorEntry) -> str | None:
    """Why `decode` cannot read this tensor, in words for a user; None when it can."""
    return entry.packing.reason if entry.packing else unreadable_type(entry.dtype)


def unreadable_type(dtype: str) -> str | None:
    """Why no tensor of this type can be read without a packing; None when it can."""
    if dtype in _REASONS:
        return _REASONS[dtype]
    if dtype in _FLOATS or _has_dequantizer(dtype):
        return None
    if dtype.startswith("ggml type"):
        return f"unknown {dtype}"
    return f"type {dtype} has no dequantizer"


def decode(raw: NDArray[np.uint8], entry: TensorEntry) -> NDArray[np.float32] | NDArray[np.float64]:
    """The values of a tensor in its shape: float64 for float64, float32 for all else.

    `raw` is (stored_bytes,), as `read_bytes` gives it, of a tensor without `unreadable_reason`.
    Aligned float32 and float64 come back as a view of `raw`, anything else as a new array.
    """
    assert raw.shape == (entry.stored_bytes,), (raw.shape, entry)
    if entry.packing:
        ends = np.cumsum([entry.num_bytes, *(other.num_bytes for other in entry.companions)])
        own, *others = np.split(raw, ends[:-1])
        return entry.packing.unpack(own, others, entry)
    if entry.dtype in _FLOATS:
        return _decode_floats(raw, entry.dtype).reshape(entry.shape)
    return _decode_blocks(raw, entry).reshape(entry.shape)


def _decode_floats(raw: NDArray[np.uint8], dtype: str) -> NDArray[np.float32] | NDArray[np.float64]:
    if dtype == "float64":
        return np.require(raw.view("<f8"), np.float64, ["A"])
    if dtype == "float32":
        return np.require(raw.view("<f4"), np.float32, ["A"])
    if dtype == "bfloat16":
        return _widen_bfloat16(raw)
    with np.errstate(invalid="ignore"):  # a signalling NaN is data here; the scan looks for it
        return raw.view("<f2").astype(np.float32)


def _widen_bfloat16(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The upper half of a float32 is its bfloat16."""
    bits = raw.view("<u2").astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def _decode_blocks(raw: NDArray[np.uint8], entry: TensorEntry) -> NDArray[np.float32]:
    """The weights of a ggml type, flat: a few blocks at a time, so that temporaries stay small."""
    import gguf

    kind = gguf.GGMLQuantizationType[entry.dtype]
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    chunk_bytes = _CHUNK_PARAMS // block_size * block_bytes
    values = np.empty(entry.num_params, np.float32)
    for begin in range(0, raw.size, chunk_bytes):
        first = begin // block_bytes * block_size
        with np.errstate(invalid="ignore", over="ignore"):  # damaged scales decode to NaN or Inf
            part = gguf.quants.dequantize(raw[begin : begin + chunk_bytes], kind)
        values[first : first + part.size] = part
    return values


@cache
def _has_dequantizer(dtype: str) -> bool:
    """Whether the gguf package decodes a block of zeros of this ggml type."""
    import gguf

    kind = gguf.GGMLQuantizationType.__members__.get(dtype)
    if kind is None:
        return False
    try:
        gguf.quants.dequantize(np.zeros(gguf.GGML_QUANT_SIZES[kind][1], np.uint8), kind)
    except NotImplementedError:
        return False
    return True
