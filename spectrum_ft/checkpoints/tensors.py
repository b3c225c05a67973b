"""What a checkpoint's headers say about one tensor, before any of its values are read."""

import math
from dataclasses import dataclass
from pathlib import Path

from spectrum_ft.checkpoints.file_reading import FileIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """One tensor of a checkpoint: where its bytes lie and how to understand them."""

    name: str
    """The name that the checkpoint gives it, e.g. `model.layers.0.mlp.up_proj.weight`."""
    shape: tuple[int, ...]
    """Extents as numpy would give them, slowest axis first."""
    dtype: str
    """`float32`, `float16`, `bfloat16`, `float64`, or the format's own word, e.g. `Q4_1`."""
    file: Path
    """The file that holds its bytes."""
    offset: int
    """Where its bytes begin, counted from the start of the file."""
    num_bytes: int
    """How many bytes it takes in the file."""
    identity: FileIdentity | None = None
    """The file when its header was read; None if that does not matter."""

    @property
    def num_params(self) -> int:
        """The number of weights: the product of the extents."""
        return math.prod(self.shape)
