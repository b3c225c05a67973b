"""Training weights that are kept in 16 bits, with stochastic rounding.

An update of a bfloat16 weight by less than 1/256 of it is lost when rounded to nearest. Rounded up
or down with a chance in proportion to the distance it survives on average (arXiv 1502.02551).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def round_stochastically(values: Tensor, generator: torch.Generator) -> Tensor:
    """`values` (float32) in bfloat16, up or down at random with the exact value as expectation.

    Adds a random number to the 16 bits that bfloat16 drops, and drops them. Values that bfloat16
    holds come back unchanged; so do infinities.
    """
    bits = values.contiguous().view(torch.int32)
    noise = torch.randint(
        0, 1 << 16, bits.shape, dtype=torch.int32, device=bits.device, generator=generator
    )
    rounded = ((bits + noise) & -(1 << 16)).view(torch.float32)
    return torch.where(torch.isfinite(values), rounded, values).to(torch.bfloat16)


class StochasticRounding:
    """Makes an optimizer step 16-bit `parameters` in float32 and round the outcome at random.

    For the step itself weights and gradients are float32 (8 bytes a weight, when activations are
    gone); the optimizer's state stays float32.
    """

    def __init__(self, optimizer: Any, parameters: Sequence[nn.Parameter], seed: int) -> None:
        self._parameters = [p for p in parameters if p.dtype == torch.bfloat16]
        self._seed = seed
        self.steps_done = 0
        """Steps so far; set when a run is resumed, for each step has its own random numbers."""
        optimizer.register_step_pre_hook(lambda *_: self._widen())
        optimizer.register_step_post_hook(lambda *_: self._round())

    @contextmanager
    def as_float32(self) -> Iterator[None]:
        """The parameters as float32 inside: torch loads an optimizer's state in their type."""
        for parameter in self._parameters:
            parameter.data = parameter.data.float()
        try:
            yield
        finally:
            for parameter in self._parameters:
                parameter.data = parameter.data.to(torch.bfloat16)

    def _widen(self) -> None:
        for parameter in self._parameters:
            gradient, parameter.grad = parameter.grad, None
            parameter.data = parameter.data.float()
            parameter.grad = None if gradient is None else gradient.float()

    def _round(self) -> None:
        for index, parameter in enumerate(self._parameters):
            generator = torch.Generator(parameter.device)
            generator.manual_seed(
                hash((self._seed, self.steps_done, index)) & 0x7FFF_FFFF_FFFF_FFFF
            )
            parameter.grad = None
            parameter.data = round_stochastically(parameter.data, generator)
        self.steps_done += 1
