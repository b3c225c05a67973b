"""How matrices get to a GPU while it is busy with others."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from spectrum_ft.spectra.solvers import Matrix

STAGING_BYTES = 4 * 2**20
"""A piece of a matrix on its way to the device; two for each thread, in pinned host memory."""


class Lane:
    """A way to the device for one thread at a time: a stream, and pinned memory in two pieces."""

    def __init__(self, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self.stream: torch.cuda.Stream | None = None
        self._device = device
        self._pieces = [
            torch.empty(STAGING_BYTES, dtype=torch.uint8, pin_memory=on_gpu) for _ in range(2)
        ]
        self._copied: list[torch.cuda.Event] = []
        if on_gpu:
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._copied = [torch.cuda.Event() for _ in self._pieces]  # type: ignore[no-untyped-call]

    def upload(self, takes: Sequence[Callable[[], Matrix]]) -> torch.Tensor:
        """All matrices on the device, each freed here as soon as it is there. (b, m, n)

        In float64 if one of them is: that is exact for the others, which are float32.
        """
        batch: torch.Tensor | None = None
        for place, take in enumerate(takes):
            matrix = take()
            if batch is None:
                dtype = torch.float64 if matrix.dtype == np.float64 else torch.float32
                shape = (len(takes), *matrix.shape)
                batch = torch.empty(shape, dtype=dtype, device=self._device)
            elif matrix.dtype == np.float64:
                batch = batch.to(torch.float64)
            elif batch.dtype == torch.float64:
                matrix = matrix.astype(np.float64)
            self._copy(matrix, batch[place])
            del matrix
        assert batch is not None
        return batch

    def _copy(self, matrix: Matrix, target: torch.Tensor) -> None:
        """Start copying `matrix`; all of it has been read when this returns."""
        source = torch.from_numpy(matrix.reshape(-1).view(np.uint8))
        placed = target.view(-1).view(torch.uint8)
        for turn, begin in enumerate(range(0, len(source), STAGING_BYTES)):
            part = source[begin : begin + STAGING_BYTES]
            piece = self._pieces[turn % 2][: len(part)]
            if self._copied:
                self._copied[turn % 2].synchronize()
            piece.copy_(part)
            placed[begin : begin + len(part)].copy_(piece, non_blocking=True)
            if self._copied:
                self._copied[turn % 2].record(self.stream)
