"""Where the bytes of tensors come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.file_reading import FileIdentity, read_range


class WeightFile(Protocol):
    """A file of weights, wherever it lies; frozen, and can be sent to another process."""

    @property
    def name(self) -> str:
        """What to call it in a message; files of one checkpoint differ in it."""

    def read_range(self, offset: int, num_bytes: int) -> NDArray[np.uint8]:
        """`num_bytes` bytes from `offset` on, as a writable 1-D array.

        Raises `CheckpointError` if they cannot be had, or are no longer those of the file whose
        header was read.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file on this machine."""

    path: Path
    """Where it lies."""
    identity: FileIdentity | None = None
    """The file when its header was read; None if that does not matter."""

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def read_range(self, offset: int, num_bytes: int) -> NDArray[np.uint8]:
        """`num_bytes` bytes from `offset` on; see `WeightFile`."""
        return read_range(self.path, offset, num_bytes, self.identity)
