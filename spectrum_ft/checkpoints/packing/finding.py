"""What the schemes of quantization share: how one says what it found, and reads what it needs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.dequantizing import decode
from spectrum_ft.checkpoints.tensors import TensorEntry

Stored = Mapping[str, TensorEntry]
"""The tensors of a checkpoint as its files list them, by name."""

CHUNK_PARAMS = 1 << 17
"""Weights that are unpacked at a time, so that temporaries stay in a core's cache."""

FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
"""The types that scales may be stored in, wherever a scheme does not say more."""


class Found(NamedTuple):
    """A weight made of stored tensors."""

    holder: str
    """The stored tensor that has its bytes, and whose place it takes."""
    entry: TensorEntry
    """The weight as the model knows it; its companions are no tensors of their own any more."""
    beside: frozenset[str] = frozenset()
    """Stored tensors that serve computing with it and are no part of the model either."""


class UnfitError(Exception):
    """Why a quantized weight cannot be unpacked, in words for a user."""


def companion(stored: Stored, name: str) -> TensorEntry:
    """The stored tensor of this name; `UnfitError` where it is missing."""
    if name not in stored:
        raise UnfitError(f"{short(name)} is missing")
    return stored[name]


def check(
    entry: TensorEntry, dtypes: frozenset[str], shapes: tuple[tuple[int, ...], ...] | None
) -> TensorEntry:
    """`entry`, if it is stored in one of `dtypes` and has one of `shapes`; else `UnfitError`."""
    if entry.dtype not in dtypes:
        raise UnfitError(f"{short(entry.name)} is stored as {entry.dtype}")
    if shapes is not None and entry.shape not in shapes:
        raise UnfitError(
            f"{short(entry.name)} has shape {extents(entry.shape)}, not {extents(shapes[0])}"
        )
    return entry


def short(name: str) -> str:
    """The end of a stranger's tensor name, fit for a message: `weight_scale_inv`."""
    return ascii(name.rsplit(".", 1)[-1])[1:-1][-60:]


def extents(shape: tuple[int, ...]) -> str:
    """A shape for a message, cut short."""
    return str(list(shape))[:60]


def portion(entry: TensorEntry, index: int, count: int) -> TensorEntry:
    """Part `index` of `count` equal parts of a tensor, cut along its first axis."""
    assert entry.shape[0] % count == 0
    size = entry.num_bytes // count
    return replace(
        entry,
        shape=(entry.shape[0] // count, *entry.shape[1:]),
        offset=entry.offset + index * size,
        num_bytes=size,
    )


def factors(raw: NDArray[np.uint8], entry: TensorEntry) -> NDArray[np.float32]:
    """The values of a scale, flat and in float32; bytes (U8, F8_E8M0) are powers of two."""
    if entry.dtype in FLOATS:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found as Inf
            return decode(raw, entry).reshape(-1).astype(np.float32)
    return POWERS_OF_TWO[raw]


def _powers_of_two() -> NDArray[np.float32]:
    powers = np.ldexp(np.ones(255, np.float32), np.arange(255) - 127)
    return np.append(powers, np.float32(np.nan))


POWERS_OF_TWO = _powers_of_two()
"""What each byte means as F8_E8M0: 2^(byte - 127), and 255 is no number (OCP MX v1.0, 5.4.1)."""
