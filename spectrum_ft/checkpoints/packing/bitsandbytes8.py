"""bitsandbytes' 8-bit weights: whole numbers, and for each row its largest magnitude.

w = q * SCB[row] / 127 (Dettmers et al. 2022, LLM.int8(), arXiv:2208.07339, equation 2).
"""

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
    factors,
)
from spectrum_ft.checkpoints.packing.refused import Refused
from spectrum_ft.checkpoints.packing.settings import Settings
from spectrum_ft.checkpoints.tensors import TensorEntry

# As bitsandbytes multiplies rather than divides, in float32.
_PER_STEP = np.float32(1 / 127)
# What bitsandbytes numbers from 0; the others are tilings of old GPU kernels.
_ORDERS = ("row", "col32", "col_turing", "col_ampere")


@dataclass(frozen=True, slots=True, kw_only=True)
class EightBit:
    """The packing of one 8-bit weight."""

    companions: tuple[TensorEntry, ...]
    """`SCB`, and `weight_format` where it is stored."""
    reason: None = None
    """It can be unpacked."""

    @property
    def layout(self) -> str:
        """Row by row."""
        return "row"

    def unpack(
        self, raw: NDArray[np.uint8], companions: Sequence[NDArray[np.uint8]], entry: TensorEntry
    ) -> NDArray[np.float32]:
        """The values in float32, multiplied in the order in which bitsandbytes does."""
        scales = factors(companions[0], self.companions[0])[:, None]  # (rows, 1)
        steps = raw.view(np.int8).reshape(entry.shape)
        values = np.empty(entry.shape, np.float32)
        band = max(CHUNK_PARAMS // max(entry.shape[1], 1), 1)
        for begin in range(0, entry.shape[0], band):
            rows = slice(begin, begin + band)
            with np.errstate(over="ignore", invalid="ignore"):  # damaged scales, for the scan
                np.multiply(steps[rows], scales[rows], out=values[rows])
                values[rows] *= _PER_STEP
        return values

    def part(self, index: int, count: int) -> "EightBit":
        """Never to be called: these weights are matrices, which have no slices."""
        raise AssertionError((index, count))


def find_8_bit(stored: Stored, settings: Settings) -> Iterator[Found]:
    """The 8-bit weights; reads the one byte that tells the order of each."""
    for name, scales in stored.items():
        if name.endswith(".SCB") and f"{name[:-4]}.weight" in stored:
            weight = stored[f"{name[:-4]}.weight"]
            order = stored.get(f"{name[:-4]}.weight_format")
            companions = (scales, order) if order else (scales,)
            try:
                _check(weight, scales, order)
            except UnfitError as fault:
                reason = f"8-bit weights (bitsandbytes): {fault}"
                packing: EightBit | Refused = Refused(reason=reason, companions=companions)
            else:
                packing = EightBit(companions=companions)
            yield Found(weight.name, replace(weight, dtype="INT8", packing=packing))


def _check(weight: TensorEntry, scales: TensorEntry, order: TensorEntry | None) -> None:
    check(weight, frozenset({"I8"}), None)
    if len(weight.shape) != 2:
        raise UnfitError("the weight is no matrix")
    rows = weight.shape[0]
    check(scales, FLOATS, ((rows,), (rows, 1), (1, rows)))
    if order is not None:
        check(order, frozenset({"U8"}), ((), (1,)))
        number = int(order.file.read_range(order.offset, 1)[0])
        if number != 0:
            known = _ORDERS[number] if number < len(_ORDERS) else str(number)
            raise UnfitError(f"stored in the order {known}; load it and save it again")
