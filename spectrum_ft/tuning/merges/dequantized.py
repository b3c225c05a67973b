"""What a matrix is once bitsandbytes has kept it in 4 or 8 bits."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Rounding = Callable[[torch.Tensor], torch.Tensor]


def as_nf4(matrix: "torch.Tensor") -> "torch.Tensor":
    """The values, float32, that NF4 in blocks of 64 with doubly quantized scales keeps of `matrix`.

    `matrix` is (outputs, inputs) in the type that it was loaded in, on the device that it trained
    on: the order of a sum differs between devices, and with it the scales' last bit.
    QLoRA, arXiv 2305.14314, section 3.
    """
    import torch

    functional = _functional()
    packed, state = functional.quantize_4bit(
        matrix.contiguous(), blocksize=64, compress_statistics=True, quant_type="nf4"
    )
    # Else the values come back rounded to the type that they were given in.
    state.dtype = torch.float32
    values: torch.Tensor = functional.dequantize_4bit(packed, state)
    return values


def as_int8(matrix: "torch.Tensor") -> "torch.Tensor":
    """The values, float32, that 8 bits and one scale a row keep of `matrix`, (outputs, inputs).

    LLM.int8(), arXiv 2208.07339, section 2; its outliers are those of activations, not of weights.
    """
    import torch

    functional = _functional()
    # bitsandbytes rounds to float16 before anything else.
    rows, scales, _ = functional.int8_vectorwise_quant(matrix.contiguous().to(torch.float16))
    values: torch.Tensor = functional.int8_vectorwise_dequant(rows, scales).float()
    return values


ROUNDINGS: "Mapping[str, Rounding]" = {"nf4": as_nf4, "int8": as_int8}
"""What each base of a plan makes of a matrix."""


def _functional() -> Any:
    """bitsandbytes' functions, without what it says about kernels that only inference uses."""
    logger = logging.getLogger("bitsandbytes")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        from bitsandbytes import functional
    finally:
        logger.setLevel(before)
    return functional
