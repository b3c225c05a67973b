"""The memory that training is going to take."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The memory that training takes at the fullest moment of a step; the parts add up to it."""

    device: Literal["cpu", "cuda"]
    """What trains: on a CPU the memory beyond the imported libraries', on a GPU the allocator's."""
    moment: Literal["load", "forward", "backward", "step"]
    """The part of training in which the most memory is in use."""
    weights_bytes: int
    """All weights as they are kept, the quantized ones packed, and the adapters."""
    gradients_bytes: int
    """The gradients that exist at that moment."""
    optimizer_bytes: int
    """What the optimizer remembers between steps."""
    activations_bytes: int
    """What the forward pass keeps for the backward pass at that moment."""
    buffers_bytes: int
    """What that moment alone needs: the head's logits, a matrix unpacked, a block's own work."""
    total_bytes: int
    """All of it."""
