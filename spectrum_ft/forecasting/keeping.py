"""How weights, gradients and optimizer states are kept, in bytes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from spectrum_ft.checkpoints.naming import Place
from spectrum_ft.planning.adapters import WEIGHT
from spectrum_ft.records.plans import Base

Precision = Literal["master", "stochastic", "as-is"]

FLOAT32 = 4
BFLOAT16 = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerKind:
    """What an optimizer remembers of each weight."""

    moments: int
    """How many numbers a weight: momentum, mean square."""
    eight_bit: bool = False
    """Whether they are kept in 8 bits, with a float32 scale for each 256 of them."""
    factored: bool = False
    """Whether a matrix keeps sums over its rows and columns only (Adafactor, arXiv 1804.04235)."""
    works_on_all: bool = False
    """Whether a step on a GPU copies all trained weights at once (torch's `foreach`)."""
    work_copies: int = 0
    """How many copies of one tensor a step works with, where it takes them one by one."""


OPTIMIZERS: Mapping[str, OptimizerKind] = {
    "adamw_torch": OptimizerKind(moments=2, works_on_all=True, work_copies=2),
    "adamw_torch_fused": OptimizerKind(moments=2),
    "adamw_bnb_8bit": OptimizerKind(moments=2, eight_bit=True),
    "adamw_8bit": OptimizerKind(moments=2, eight_bit=True),
    "paged_adamw_8bit": OptimizerKind(moments=2, eight_bit=True),
    "paged_adamw": OptimizerKind(moments=2),
    "paged_adamw_32bit": OptimizerKind(moments=2),
    "lion_32bit": OptimizerKind(moments=1),
    "lion_8bit": OptimizerKind(moments=1, eight_bit=True),
    "paged_lion_32bit": OptimizerKind(moments=1),
    "paged_lion_8bit": OptimizerKind(moments=1, eight_bit=True),
    "adafactor": OptimizerKind(moments=0, factored=True, work_copies=3),
    "ademamix": OptimizerKind(moments=3),
    "ademamix_8bit": OptimizerKind(moments=3, eight_bit=True),
    "paged_ademamix_32bit": OptimizerKind(moments=3),
    "paged_ademamix_8bit": OptimizerKind(moments=3, eight_bit=True),
    "rmsprop_bnb": OptimizerKind(moments=1),
    "rmsprop_bnb_32bit": OptimizerKind(moments=1),
    "rmsprop_bnb_8bit": OptimizerKind(moments=1, eight_bit=True),
    "adagrad": OptimizerKind(moments=1, works_on_all=True, work_copies=2),
    "rmsprop": OptimizerKind(moments=1, works_on_all=True, work_copies=2),
    "sgd": OptimizerKind(moments=0),
}
"""The optimizers whose memory is known, by transformers' names."""

_SMALLEST_EIGHT_BIT = 4096
"""bitsandbytes keeps the state of tensors with fewer entries in 32 bits (its `min_8bit_size`)."""


def quantized_bytes(shape: Sequence[int], base: Base, weight_bytes: int) -> int:
    """The bytes of a linear matrix of this shape under `base`.

    NF4 with double quantization (QLoRA, arXiv 2305.14314): half a byte a weight, an 8-bit scale
    for each 64 of them, a float32 scale for each 256 of those, and two tables; 0.516 in all. int8:
    a byte a weight and a float32 scale a row.
    """
    size = math.prod(shape)
    if base == "nf4":
        return size // 2 + math.ceil(size / 64) + 4 * math.ceil(size / (64 * 256)) + 4 * (256 + 16)
    if base == "int8":
        return size + FLOAT32 * shape[0]
    return size * weight_bytes


def is_quantizable(name: str, shape: Sequence[int], place: Place) -> bool:
    """Whether bitsandbytes takes this tensor: a linear matrix of a block, no fused experts."""
    is_matrix = len(shape) == 2 and place.role == "block" and name.endswith(WEIGHT)
    return is_matrix and place.expert is None


def trained_weight_bytes(precision: Precision, compute: int) -> int:
    """The bytes of a trained weight, and of its gradient: `compute` are those of the base's type.

    `master`: float32 whatever the base; `stochastic`: bfloat16 with stochastic rounding.
    """
    return {"master": FLOAT32, "stochastic": BFLOAT16, "as-is": compute}[precision]


def state_bytes(shape: Sequence[int], optimizer: OptimizerKind, number_bytes: int) -> int:
    """What the optimizer remembers of a tensor of this shape, its numbers in `number_bytes`."""
    size = math.prod(shape)
    if optimizer.factored:
        # Of a stack, each matrix: its last two extents are factored.
        matrices = math.prod(shape[:-2])
        return FLOAT32 * (matrices * sum(shape[-2:]) if len(shape) >= 2 else size)
    if optimizer.eight_bit and size >= _SMALLEST_EIGHT_BIT:
        return optimizer.moments * (size + FLOAT32 * math.ceil(size / 256))
    return optimizer.moments * size * number_bytes
