"""bitsandbytes' 4-bit weights, NF4 and FP4, as `save_pretrained` stores them.

A weight of n values is n/2 bytes, the first of two weights in the upper half, in blocks that each
have a scale: w = code[q] * absmax[block]. With double quantization the scales are bytes again:
absmax = nested_quant_map[byte] * nested_absmax[nested block] + offset (Dettmers et al. 2023, QLoRA,
arXiv:2305.14314, section 3). What is no tensor lies in a few bytes of JSON, the shape included.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.packing.finding import (
    CHUNK_PARAMS,
    FLOATS,
    Found,
    Stored,
    UnfitError,
    check,
    companion,
    extents,
    factors,
    portion,
)
from spectrum_ft.checkpoints.packing.nibbles import look_up, pairs_of
from spectrum_ft.checkpoints.packing.refused import Refused
from spectrum_ft.checkpoints.packing.settings import Settings
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.strict_json import JsonFault, parse_json

MAX_STATE_BYTES = 4096
"""The most JSON that is read for one weight; real ones have 100 to 300 bytes."""

# The quantiles of a normal distribution that QLoRA's appendix E lists.
_NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
# A sign, two bits of exponent and one of mantissa, of which the largest is 12.
_FP4 = (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0)
_CODES: Mapping[str, NDArray[np.float32]] = {
    "nf4": np.array(_NF4, np.float32),
    "fp4": np.array([*_FP4, *(-value for value in _FP4)], np.float32) / np.float32(12),
}
_BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_STATE = "quant_state.bitsandbytes__"
_PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nesting:
    """How the scales themselves are quantized."""

    block_size: int
    """Scales that share a scale."""
    offset: float
    """What is added to each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FourBit:
    """The packing of one 4-bit weight."""

    code: str
    """`nf4` or `fp4`."""
    block_size: int
    """Weights that share a scale."""
    nesting: _Nesting | None
    """How the scales are quantized; None where they are floats."""
    companions: tuple[TensorEntry, ...]
    """`absmax`, `quant_map`, the JSON, and for double quantization the two nested ones."""
    reason: None = None
    """It can be unpacked."""

    @property
    def layout(self) -> str:
        """Nothing but what the companions say."""
        return "as its companions say"

    def unpack(
        self, raw: NDArray[np.uint8], companions: Sequence[NDArray[np.uint8]], entry: TensorEntry
    ) -> NDArray[np.float32]:
        """The values, rounded once, to float32; NaN where the file has another code than we."""
        code = _CODES[self.code]
        quant_map = factors(companions[1], self.companions[1])
        if not np.allclose(quant_map, code, rtol=0, atol=1e-4):
            return np.full(entry.shape, np.nan, np.float32)
        pairs = pairs_of(code, high_first=True)
        scales = self._scales(companions)
        values = np.empty(entry.num_params, np.float32)
        for begin in range(0, values.size, CHUNK_PARAMS):
            part = values[begin : begin + CHUNK_PARAMS]
            first = begin // self.block_size
            wide = np.repeat(
                scales[first : first + CHUNK_PARAMS // self.block_size], self.block_size
            )
            codes = look_up(raw[begin // 2 : (begin + part.size + 1) // 2], pairs)
            with np.errstate(over="ignore", invalid="ignore"):  # damaged scales, for the scan
                np.multiply(codes[: part.size], wide[: part.size], out=part)
        return values.reshape(entry.shape)

    def _scales(self, companions: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        if self.nesting is None:
            return factors(companions[0], self.companions[0])
        nested_absmax = factors(companions[3], self.companions[3])
        nested_map = factors(companions[4], self.companions[4])
        wide = np.repeat(nested_absmax, self.nesting.block_size)[: companions[0].size]
        with np.errstate(over="ignore", invalid="ignore"):
            return nested_map[companions[0]] * wide + np.float32(self.nesting.offset)

    def part(self, index: int, count: int) -> "FourBit":
        """That of one slice; recognition made sure that blocks do not straddle slices."""
        absmax, quant_map, state, *nested = self.companions
        if nested:
            nested[0] = portion(nested[0], index, count)
        own = (portion(absmax, index, count), quant_map, state, *nested)
        return replace(self, companions=own)


def find_4_bit(stored: Stored, settings: Settings) -> Iterator[Found]:
    """The 4-bit weights; reads the JSON of each."""
    seen: set[str] = set()
    for name in stored:
        weight = _owner(name)
        if weight in stored and weight not in seen:
            seen.add(weight)
            yield Found(weight, _put_together(stored, stored[weight]))
    for name, entry in stored.items() if settings.hides_bytes else ():
        # Packed bytes under the name of a float, without all that tells so.
        is_line = len(entry.shape) == 2 and min(entry.shape) == 1
        if name not in seen and is_line and name.endswith(".weight"):
            reason = "4-bit weights (bitsandbytes) without scales"
            yield Found(name, replace(entry, packing=Refused(reason=reason)))


def _owner(name: str) -> str:
    """The weight that a companion of this name belongs to; empty if it is none."""
    head, _, word = name.rpartition(".")
    if word in _PARTS:
        return head
    is_state = head.endswith(".quant_state") and word.startswith("bitsandbytes__")
    return head.removesuffix(".quant_state") if is_state else ""


def _put_together(stored: Stored, raw: TensorEntry) -> TensorEntry:
    names = [*_PARTS, *(_STATE + code for code in _CODES)]
    present = tuple(stored[n] for n in (f"{raw.name}.{part}" for part in names) if n in stored)
    try:
        return _four_bit(stored, raw)
    except UnfitError as fault:
        reason = f"4-bit weights (bitsandbytes): {fault}"
        return replace(raw, packing=Refused(reason=reason, companions=present))


def _four_bit(stored: Stored, raw: TensorEntry) -> TensorEntry:
    codes = [code for code in _CODES if f"{raw.name}.{_STATE}{code}" in stored]
    if len(codes) != 1:
        raise UnfitError(f"{len(codes)} quant_state.bitsandbytes__... instead of one")
    state = stored[f"{raw.name}.{_STATE}{codes[0]}"]
    table = _read_state(state)
    shape, block_size = _shape(table), _one_of_sizes(table, "blocksize")
    if table.get("quant_type") != codes[0]:
        raise UnfitError("quant_state contradicts its own name")
    num_params = math.prod(shape)
    if raw.num_bytes != (num_params + 1) // 2:
        raise UnfitError(f"shape {extents(shape)} does not fit {raw.num_bytes:,} bytes")
    num_blocks = -(-num_params // block_size)
    absmax = companion(stored, f"{raw.name}.absmax")
    quant_map = check(companion(stored, f"{raw.name}.quant_map"), FLOATS, ((16,),))
    nested = [f"{raw.name}.nested_absmax", f"{raw.name}.nested_quant_map"]
    nesting = None
    others: tuple[TensorEntry, ...] = ()
    if absmax.dtype == "U8" or any(name in stored for name in nested):
        check(absmax, frozenset({"U8"}), ((num_blocks,),))
        nesting = _nesting(table)
        num_nested = -(-num_blocks // nesting.block_size)
        others = (
            check(companion(stored, nested[0]), FLOATS, ((num_nested,),)),
            check(companion(stored, nested[1]), FLOATS, ((256,),)),
        )
    else:
        check(absmax, FLOATS, ((num_blocks,),))
    _check_slices(shape, block_size * (nesting.block_size if nesting else 1))
    packing = FourBit(
        code=codes[0],
        block_size=block_size,
        nesting=nesting,
        companions=(absmax, quant_map, state, *others),
    )
    return replace(raw, shape=shape, dtype=codes[0].upper(), packing=packing)


def _read_state(state: TensorEntry) -> Mapping[str, Any]:
    if state.dtype != "U8" or not 0 < state.num_bytes <= MAX_STATE_BYTES:
        raise UnfitError(f"quant_state takes {state.num_bytes:,} bytes of {state.dtype}")
    try:
        table = parse_json(state.file.read_range(state.offset, state.num_bytes).tobytes())
    except JsonFault as fault:
        raise UnfitError(f"quant_state: {fault}") from None
    if not isinstance(table, dict):
        raise UnfitError("quant_state is not a table")
    return table


def _shape(table: Mapping[str, Any]) -> tuple[int, ...]:
    shape = table.get("shape")
    if not isinstance(shape, list) or not 0 < len(shape) <= 8:
        raise UnfitError("quant_state has no shape")
    if not all(type(extent) is int and 0 < extent < 2**40 for extent in shape):
        raise UnfitError("quant_state has a bad shape")
    return tuple(shape)


def _one_of_sizes(table: Mapping[str, Any], key: str) -> int:
    size = table.get(key)
    if type(size) is not int or size not in _BLOCK_SIZES:
        raise UnfitError(f"quant_state has the {key} {ascii(size)[:20]}")
    return size


def _nesting(table: Mapping[str, Any]) -> _Nesting:
    offset = table.get("nested_offset")
    if isinstance(offset, bool) or not isinstance(offset, int | float):
        raise UnfitError("quant_state has no nested_offset")
    return _Nesting(block_size=_one_of_sizes(table, "nested_blocksize"), offset=float(offset))


def _check_slices(shape: tuple[int, ...], straddled: int) -> None:
    """Refuse stacked matrices whose slices share a scale, since each is unpacked on its own."""
    for axis in range(1, len(shape) - 1):
        if math.prod(shape[axis:]) % straddled:
            raise UnfitError(f"the matrices in {extents(shape)} share scales")
