"""What a checkpoint's headers say about one tensor, before any of its values are read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.weight_files import WeightFile


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """One tensor of a model: where its bytes lie and how to understand them."""

    name: str
    """The name that the model gives it, e.g. `model.layers.0.mlp.up_proj.weight`."""
    shape: tuple[int, ...]
    """Extents as numpy would give them, slowest axis first; of a packed tensor, when unpacked."""
    dtype: str
    """`float32`, `float16`, `bfloat16`, `float64`, or the format's own word, e.g. `Q4_1`, `NF4`."""
    file: WeightFile
    """The file that holds its bytes."""
    offset: int
    """Where its bytes begin, counted from the start of the file."""
    num_bytes: int
    """How many bytes it takes in the file, without its companions."""
    packing: "Packing | None" = None
    """How values come out of its bytes and those of other tensors; None where `dtype` says it."""

    @property
    def num_params(self) -> int:
        """The number of weights: the product of the extents."""
        return math.prod(self.shape)

    @property
    def companions(self) -> tuple["TensorEntry", ...]:
        """The tensors that its packing needs besides: scales and the like."""
        return self.packing.companions if self.packing else ()

    @property
    def stored_bytes(self) -> int:
        """The bytes that have to be read for its values."""
        return self.num_bytes + sum(other.num_bytes for other in self.companions)

    def part(self, index: int) -> Self:
        """Slice `index` along the first axis, as a tensor of its own."""
        count = self.shape[0]
        assert len(self.shape) > 1
        assert 0 <= index < count
        assert self.num_bytes % count == 0
        size = self.num_bytes // count
        return replace(
            self,
            shape=self.shape[1:],
            offset=self.offset + index * size,
            num_bytes=size,
            packing=self.packing.part(index, count) if self.packing else None,
        )


class Packing(Protocol):
    """A scheme of quantization, applied to one tensor; frozen."""

    @property
    def companions(self) -> tuple[TensorEntry, ...]:
        """The stored tensors that belong to it: scales and the like."""

    @property
    def layout(self) -> str:
        """What decides the values besides the bytes, as text: equal for equal arithmetic."""

    @property
    def reason(self) -> str | None:
        """Why it cannot be unpacked, in words for a user; None where it can."""

    def unpack(
        self, raw: NDArray[np.uint8], companions: Sequence[NDArray[np.uint8]], entry: TensorEntry
    ) -> NDArray[np.float32]:
        """The values of `entry`, in its shape, from its bytes and those of the companions."""

    def part(self, index: int, count: int) -> "Packing":
        """The packing of slice `index` of `count` along the first axis."""
