"""8-bit floats with scales: w = q * scale, one scale for each tensor, row or block of it.

Whatever the name, `weight_scale` (compressed-tensors, fbgemm, modelopt) or `weight_scale_inv`
(DeepSeek-V3, transformers), the scale multiplies. How much of the weight one scale stands for
follows from the two shapes, and from the block that config.json names.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.packing.finding import (
    CHUNK_PARAMS,
    FLOATS,
    Found,
    Stored,
    UnfitError,
    check,
    extents,
    factors,
    portion,
    short,
)
from spectrum_ft.checkpoints.packing.refused import Refused
from spectrum_ft.checkpoints.packing.settings import DEFAULT_BLOCK, Settings
from spectrum_ft.checkpoints.tensors import TensorEntry

# Mantissa bits, the exponent's bias, and which bytes are no numbers: `FN` has no infinities, `UZ`
# neither those nor a negative zero (Micikevicius et al. 2022, arXiv:2209.05433; Noune et al. 2022,
# arXiv:2206.02915).
_FORMATS = {
    "F8_E4M3": (3, 7, {0x7F: np.nan, 0xFF: np.nan}),
    "F8_E5M2": (
        *(2, 15),
        dict.fromkeys((0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF), np.nan) | {0x7C: np.inf, 0xFC: -np.inf},
    ),
    "F8_E4M3FNUZ": (3, 8, {0x80: np.nan}),
    "F8_E5M2FNUZ": (2, 16, {0x80: np.nan}),
}
_SCALES = FLOATS | {"F8_E8M0", "U8"}
_POWERS = frozenset({"F8_E8M0", "U8"})
_MX_BLOCK = (1, 32)  # OCP Microscaling Formats v1.0, table 1
# Where the scale of `X.weight`, and of a parameter that is not called so, may be.
_OF_MODULES = ("weight_scale_inv", "weight_scale", "scale", "qscale_weight")
# Fixed scales of what goes in and out: they serve computing in 8 bits and are no weights.
_OF_ACTIVATIONS = ("input_scale", "output_scale", "activation_scale")
_OF_PARAMETERS = ("_scale_inv", "_scale", "_weight_scale")


def _numbers(mantissa_bits: int, bias: int, special: dict[int, float]) -> NDArray[np.float32]:
    """What each of the 256 bytes means."""
    byte = np.arange(256)
    exponent = (byte & 0x7F) >> mantissa_bits
    fraction = (byte & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    magnitude = np.ldexp(
        np.where(exponent > 0, 1 + fraction, fraction), np.maximum(exponent, 1) - bias
    )
    values: NDArray[np.float32] = np.where(byte & 0x80, -magnitude, magnitude).astype(np.float32)
    values[list(special)] = list(special.values())
    return values


_NUMBERS = {dtype: _numbers(*format_) for dtype, format_ in _FORMATS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Float8:
    """The packing of one weight."""

    companions: tuple[TensorEntry, ...]
    """The scale."""
    block: tuple[int, int]
    """The (rows, columns) that one scale stands for; those at the end may stand for fewer."""
    reason: None = None
    """It can be unpacked."""

    @property
    def layout(self) -> str:
        """How much each scale stands for: equal bytes mean other values under other blocks."""
        return f"{self.block[0]} x {self.block[1]}"

    def unpack(
        self, raw: NDArray[np.uint8], companions: Sequence[NDArray[np.uint8]], entry: TensorEntry
    ) -> NDArray[np.float32]:
        """The values, rounded once, to float32; NaN where a scale of 0 stands for other numbers."""
        numbers = _NUMBERS[entry.dtype]
        values = np.empty(entry.num_params, np.float32)
        for begin in range(0, values.size, CHUNK_PARAMS):
            values[begin : begin + CHUNK_PARAMS] = numbers[raw[begin : begin + CHUNK_PARAMS]]
        if values.size:
            scales = factors(companions[0], self.companions[0])
            self._multiply(values.reshape(_as_matrices(entry.shape)), scales)
        return values.reshape(entry.shape)

    def _multiply(self, matrices: NDArray[np.float32], scales: NDArray[np.float32]) -> None:
        """Scale (experts, rows, columns) in place."""
        count, rows, columns = matrices.shape
        height, width = self.block
        grid = (-1, math.ceil(rows / height), math.ceil(columns / width))
        grids = np.broadcast_to(scales.reshape(grid), (count, *grid[1:]))
        band = max(CHUNK_PARAMS // (height * columns), 1)  # in rows of blocks
        for matrix, own in zip(matrices, grids, strict=True):
            for begin in range(0, grid[1], band):
                wide = np.repeat(own[begin : begin + band], width, axis=1)[:, :columns]
                part = matrix[begin * height : (begin + band) * height]
                whole = len(part) // height
                _scale(part[: whole * height].reshape(whole, height, columns), wide[:whole, None])
                if len(part) > whole * height:
                    _scale(part[whole * height :], wide[whole:])

    def part(self, index: int, count: int) -> "Float8":
        """That of one expert, which may have its scales to itself or share one with all."""
        (scale,) = self.companions
        return (
            self
            if scale.num_params == 1
            else replace(self, companions=(portion(scale, index, count),))
        )


def _scale(values: NDArray[np.float32], scales: NDArray[np.float32]) -> None:
    """Multiply in place; what is not zero but has the scale zero becomes NaN."""
    zero = scales == 0
    lost = zero & (values != 0) if zero.any() else None
    with np.errstate(over="ignore", invalid="ignore"):  # damaged scales, for the scan to find
        values *= scales
    if lost is not None:
        values[lost] = np.nan


def _as_matrices(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A shape of one to three axes as (experts, rows, columns)."""
    count, rows, columns = (1, 1, 1, *shape)[-3:]
    return count, rows, columns


def find_float8(stored: Stored, settings: Settings) -> Iterator[Found]:
    """All that is stored as 8-bit floats, unless it is a scale itself."""
    for name, raw in stored.items():
        if raw.dtype in _FORMATS and not name.endswith(("_scale", "_scale_inv", "_scale_2")):
            module = name.removesuffix("weight")
            beside = [module + end for end in _OF_ACTIVATIONS if module + end in stored]
            yield Found(name, _put_together(stored, raw, settings), frozenset(beside))


def _put_together(stored: Stored, raw: TensorEntry, settings: Settings) -> TensorEntry:
    module = raw.name.removesuffix("weight")
    is_module = raw.name.endswith(".weight")
    names = [module + end for end in _OF_MODULES] if is_module else []
    names += [] if is_module else [raw.name + end for end in _OF_PARAMETERS]
    scales = tuple(stored[name] for name in names if name in stored)
    try:
        if len(scales) > 1:
            raise UnfitError(f"both {short(scales[0].name)} and {short(scales[1].name)}")
        if not scales:
            raise UnfitError("its scale is missing")
        if (extra := f"{raw.name}_zero_point") in stored or (
            extra := f"{raw.name}_scale_2"
        ) in stored:
            raise UnfitError(f"{short(extra)} beside its scale")
        check(scales[0], _SCALES, None)
        block = _block(raw.shape, scales[0], settings)
    except UnfitError as fault:
        reason = f"8-bit floats ({raw.dtype}): {fault}"
        return replace(raw, packing=Refused(reason=reason, companions=scales))
    return replace(raw, packing=Float8(companions=scales, block=block))


def _block(shape: tuple[int, ...], scale: TensorEntry, settings: Settings) -> tuple[int, int]:
    """What one scale stands for; `UnfitError` where the shapes leave none or several answers."""
    if not 1 <= len(shape) <= 3:
        raise UnfitError(f"shape {extents(shape)} with a scale")
    if 0 in shape:
        raise UnfitError("it holds no values")
    _, rows, columns = _as_matrices(shape)
    if scale.dtype != "U8" and scale.num_params == 1:
        return rows, columns
    grid = _grid(shape, scale.shape)
    if grid is None:
        raise _misfit(shape, scale)
    # Several ways to say the same are one: no block is larger than the matrix.
    fitting = {
        (min(height, rows), min(width, columns))
        for height, width in _candidates(shape, scale, grid, settings)
        if grid == (math.ceil(rows / height), math.ceil(columns / width))
    }
    if grid == (columns, 1) and len(shape) == 3 and _may_be_turned(rows, columns, settings):
        fitting.add((rows, 1))
    if not fitting:
        raise _misfit(shape, scale)
    if len(fitting) > 1:
        raise UnfitError(
            f"{short(scale.name)} {extents(scale.shape)} for a weight {extents(shape)} may stand "
            f"for blocks of {' or '.join(f'{h} x {w}' for h, w in sorted(fitting))}"
        )
    block = fitting.pop()
    if settings.method is None and block not in {(rows, columns), (rows, 1), (1, columns)}:
        _check_guess(block, rows, columns)
    return block


def _check_guess(block: tuple[int, int], rows: int, columns: int) -> None:
    """`UnfitError` if the usual block is taken for want of a config, and others fit as well."""
    usual = (min(DEFAULT_BLOCK[0], rows), min(DEFAULT_BLOCK[1], columns))
    if block == usual and (rows % DEFAULT_BLOCK[0] or columns % DEFAULT_BLOCK[1]):
        raise UnfitError("without its config.json there is no telling how large its blocks are")


def _misfit(shape: tuple[int, ...], scale: TensorEntry) -> UnfitError:
    return UnfitError(
        f"{short(scale.name)} {extents(scale.shape)} does not fit a weight {extents(shape)}"
    )


def _grid(shape: tuple[int, ...], scales: tuple[int, ...]) -> tuple[int, int] | None:
    """The (rows, columns) of scales that each matrix has; None where there is no telling."""
    if len(shape) == 3:
        if scales[:1] != shape[:1]:
            return None
        scales = scales[1:] or (1, 1)
    if len(scales) == 1:
        return scales[0], 1
    if len(scales) == 4 and scales[1] == scales[3] == 1:
        return scales[0], scales[2]  # modelopt keeps the axes that a block reduces
    return (scales[0], scales[1]) if len(scales) == 2 else None


def _candidates(
    shape: tuple[int, ...], scale: TensorEntry, grid: tuple[int, int], settings: Settings
) -> Iterator[tuple[int, int]]:
    _, rows, columns = _as_matrices(shape)
    if scale.dtype in _POWERS:
        yield _MX_BLOCK
    if scale.dtype == "U8":
        return
    yield from settings.blocks
    yield rows, columns
    yield rows, 1
    if len(shape) < 3 or settings.method != _TURNED:
        yield 1, columns


# Its experts are stored as (experts, in, out), but the scales of `down_proj` as (experts, out, 1).
_TURNED = "fbgemm_fp8"


def _may_be_turned(rows: int, columns: int, settings: Settings) -> bool:
    """Whether scales of shape (columns, 1) may be one for each column."""
    return settings.method in (_TURNED, None) or rows != columns
