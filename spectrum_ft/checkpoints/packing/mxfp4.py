"""MXFP4, as gpt-oss stores its experts: 32 values of 4 bits and the power of two they share.

`X_blocks` (experts, rows, groups, 16) and `X_scales` (experts, rows, groups) make the weight X of
(experts, 32 * groups, rows): transformers keeps it transposed, and so do we, so that names and
shapes are those of the unpacked model. OpenAI's own files say `X.blocks` and `X.scales`, and their
X is (experts, rows, 32 * groups).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.packing.finding import (
    CHUNK_PARAMS,
    POWERS_OF_TWO,
    Found,
    Stored,
    UnfitError,
    check,
    companion,
    portion,
)
from spectrum_ft.checkpoints.packing.nibbles import look_up, pairs_of
from spectrum_ft.checkpoints.packing.refused import Refused
from spectrum_ft.checkpoints.packing.settings import Settings
from spectrum_ft.checkpoints.tensors import TensorEntry

# E2M1 (OCP Microscaling Formats v1.0, table 5): a sign, two bits of exponent, one of mantissa.
_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_CODE = np.array([*_MAGNITUDES, *(-value for value in _MAGNITUDES)], np.float32)
_GROUP_BYTES = 16
_GROUP = 2 * _GROUP_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Mxfp4:
    """The packing of one weight, or of one expert's."""

    companions: tuple[TensorEntry, ...]
    """The scales."""
    transposed: bool
    """Whether the last two axes of the weight are swapped as against those of its blocks."""
    reason: None = None
    """It can be unpacked."""

    @property
    def layout(self) -> str:
        """Which way round it lies."""
        return "transposed" if self.transposed else "straight"

    def unpack(
        self, raw: NDArray[np.uint8], companions: Sequence[NDArray[np.uint8]], entry: TensorEntry
    ) -> NDArray[np.float32]:
        """The values: exact in float32, but for those beyond its range; NaN where a scale is."""
        pairs = pairs_of(_CODE, high_first=False)
        values = np.empty(entry.shape, np.float32)
        straight = values.swapaxes(-1, -2) if self.transposed else values
        if not values.size:
            return values
        rows, columns = straight.shape[-2:]
        num_experts = values.size // (rows * columns)
        straight = straight.reshape(num_experts, rows, columns)  # a view: one axis is added or kept
        blocks = raw.reshape(num_experts, rows, columns // 2)
        powers = companions[0].reshape(num_experts, rows, columns // _GROUP)
        band = max(CHUNK_PARAMS // columns, 1)
        for expert, target in enumerate(straight):
            for begin in range(0, rows, band):
                some = slice(begin, begin + band)
                codes = look_up(blocks[expert, some], pairs)
                codes = codes.reshape(*powers[expert, some].shape, _GROUP)
                with np.errstate(over="ignore", invalid="ignore"):
                    codes *= POWERS_OF_TWO[powers[expert, some]][..., None]
                target[some] = codes.reshape(-1, columns)
        return values

    def part(self, index: int, count: int) -> "Mxfp4":
        """That of one expert."""
        return replace(self, companions=(portion(self.companions[0], index, count),))


def find_mxfp4(stored: Stored, settings: Settings) -> Iterator[Found]:
    """The weights in blocks of 32, under the names of transformers and of OpenAI."""
    for name, raw in stored.items():
        if name.endswith(("_blocks", ".blocks")) and raw.dtype == "U8" and _is_blocks(raw.shape):
            yield Found(name, _put_together(stored, raw))


def _is_blocks(shape: tuple[int, ...]) -> bool:
    return len(shape) in (3, 4) and shape[-1] == _GROUP_BYTES


def _put_together(stored: Stored, raw: TensorEntry) -> TensorEntry:
    name, mark = raw.name[: -len("_blocks")], raw.name[-len("_blocks")]
    *front, rows, groups, _ = raw.shape
    transposed = mark == "_" and len(front) == 1
    columns = groups * _GROUP
    shape = (*front, columns, rows) if transposed else (*front, rows, columns)
    entry = replace(raw, name=name, shape=shape, dtype="MXFP4")
    try:
        scales = companion(stored, f"{name}{mark}scales")
        check(scales, frozenset({"U8", "F8_E8M0"}), (raw.shape[:-1],))
    except UnfitError as fault:
        lost = stored.get(f"{name}{mark}scales")
        refused = Refused(reason=f"MXFP4 blocks: {fault}", companions=(lost,) if lost else ())
        return replace(entry, packing=refused)
    return replace(entry, packing=Mxfp4(companions=(scales,), transposed=transposed))
