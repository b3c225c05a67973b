"""Singular values on a GPU, by the methods and within the bounds of `spectrum_ft.spectra.solvers`.

Letters as there, and b for the number of matrices of one shape that are solved together.

While a thread solves, it has a stream of its own and a little pinned memory, so several threads
keep the device busy: while one reads and decodes, another's weights are copied and a third's
eigenvalues are found. Together they stay within the device's free memory.

What differs from the CPU: the whole Gram matrix is computed, since torch has no symmetric rank-k
update; and its eigenvalues are found in float64 for both methods. Reduction to tridiagonal form
waits for memory and for its many small steps more than for arithmetic, so that should cost at most
twice the time, also on a GPU that is slow in float64. In float32 the eigenvalues of 1024 x 1024
noise were off by twice what `uncertainty` allows for; in float64, by a hundredth of it.

torch hands cuBLAS a workspace for each thread and stream, so the same batch gives the same bits
again, whatever else runs; in another batch a matrix may come out differently in the last ones.
"""

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from spectrum_ft.errors import ComputeError
from spectrum_ft.spectra.device_lanes import Lane
from spectrum_ft.spectra.full_precision import NO_TF32
from spectrum_ft.spectra.memory_budget import MemoryBudget
from spectrum_ft.spectra.solvers import (
    CpuSolver,
    Matrix,
    Method,
    OutOfDeviceMemoryError,
    UnscorableError,
    Values,
    roots,
    scaling_exponent,
)

CUDA_BACKEND = "cuda-1"
"""Which arithmetic this module does on a GPU, for keys. Raise it when that changes."""

_BATCH_BYTES = 64 * 2**20
"""Of one batch in float32. Larger matrices occupy a GPU by themselves."""

_MAX_BATCH = 64

_PANEL_BYTES = 256 * 2**20
"""How much is widened to float64 at a time: enough to occupy a GPU."""

_GRAMS = 3
"""Gram matrices in float64 at a time: one, the copy that is overwritten, cuSOLVER's workspace."""

_SHARE = 0.9
"""Of the device's free memory; cuBLAS and cuSOLVER take some, and some is lost between blocks."""

# What is said, beside torch.OutOfMemoryError, where there is no memory for the libraries. The last
# two make a handle, and fail with several codes when its own memory cannot be had.
_OUT_OF_MEMORY = (
    *("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUSOLVER_STATUS_ALLOC_FAILED"),
    *("when calling `cublasCreate", "when calling `cusolverDnCreate"),
)
_DEVICE_FAULT = ("CUDA error", "cusolver error")


def num_usable_gpus() -> int:
    """The CUDA devices that this build of torch can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def build_of_torch() -> str:
    """torch's version and the CUDA it is built for, in words."""
    return (
        f"{torch.__version__}, {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'no CUDA'}"
    )


class TorchSolver:
    """A solver on one of torch's devices."""

    workers = 2  # one whose kernels run, one whose next are on their way

    def __init__(self, device: str) -> None:
        """A solver on `device`: `cuda:0` and so on. `cpu` works too, without being worth it."""
        self._device = torch.device(device)
        self._on_gpu = self._device.type == "cuda"
        self._room = MemoryBudget(_free_bytes(self._device))
        self._idle: deque[Lane] = deque()
        self.backend = CUDA_BACKEND if self._on_gpu else "torch-cpu-1"
        self.device = torch.cuda.get_device_name(self._device) if self._on_gpu else "cpu"

    def batch_size(self, shape: tuple[int, int]) -> int:
        """As many matrices of `shape` as it takes to occupy a GPU; 1 to 64."""
        return max(1, min(_MAX_BATCH, _BATCH_BYTES // (4 * shape[0] * shape[1])))

    def solve(
        self, takes: Sequence[Callable[[], Matrix]], method: Method
    ) -> list[Values | UnscorableError]:
        """The singular values of matrices of equal shape, or why one has none; see `Solver`.

        `gram32` is without TF32. `svd64` is left to the CPU: most GPUs are slow at it, and it is
        rarely needed. Raises `ComputeError` if the device fails in another way than for memory.
        """
        if method == "svd64":
            return CpuSolver().solve(takes, method)
        try:
            return self._solve(takes, method) if takes else []
        except RuntimeError as fault:
            words = str(fault)
            if not isinstance(fault, torch.OutOfMemoryError) and not _says(words, _OUT_OF_MEMORY):
                if not _says(words, _DEVICE_FAULT):
                    raise
                raise ComputeError(
                    f"{self._device} ({self.device}): {words.splitlines()[0]}",
                    "pass --device cpu, or try again; what was scanned so far is kept",
                ) from None
        # Out here, because in the handler the fault's frames keep their tensors on the device.
        if self._on_gpu:
            torch.cuda.empty_cache()
        raise OutOfDeviceMemoryError(f"{self._device} has no room for {len(takes)} matrices")

    def _solve(
        self, takes: Sequence[Callable[[], Matrix]], method: Method
    ) -> list[Values | UnscorableError]:
        handed = [takes[0]()]  # popped, so that nothing here keeps it
        needed = _device_bytes(handed[0], len(takes), method)
        # What is needed is an estimate: whether it is too much only the device can tell.
        needed = min(needed, self._room.total)
        with self._room.reserve(needed), self._lane() as lane, torch.cuda.stream(lane.stream):
            batch = lane.upload([handed.pop, *takes[1:]])  # (b, m, n)
            exponents, faults = _scale(batch)
            gram = _gram_float32(batch) if method == "gram32" else _gram_float64(batch)
            del batch
            found = _roots_of(gram)
        return [
            fault or (values if isinstance(values, UnscorableError) else np.ldexp(values, exponent))
            for values, exponent, fault in zip(found, exponents, faults, strict=True)
        ]

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        """A way to the device that nobody else is on."""
        try:
            lane = self._idle.pop()
        except IndexError:
            lane = Lane(self._device)
        try:
            yield lane
        finally:
            self._idle.append(lane)


def _free_bytes(device: torch.device) -> int:
    """What may be taken of the memory that is free on `device`; no limit on the CPU."""
    if device.type != "cuda":
        return sys.maxsize
    free: float = torch.cuda.mem_get_info(device)[0]
    return int(_SHARE * free)


def _device_bytes(matrix: Matrix, count: int, method: Method) -> int:
    """About the most that `count` matrices like `matrix` take on the device at a time."""
    shape: tuple[int, ...] = matrix.shape
    values: int = matrix.nbytes
    widened = 8 * math.prod(shape) * count if method == "gram64" else 0
    return count * (values + _GRAMS * 8 * min(shape) ** 2) + min(_PANEL_BYTES, widened)


def _scale(batch: torch.Tensor) -> tuple[list[int], list[UnscorableError | None]]:
    """The exponent by which each matrix was scaled in place, and why one cannot be scored.

    One that cannot is set to zero, so that it does no harm to the others.
    """
    low, high = torch.aminmax(batch.flatten(1), dim=1)  # NaN where there is any
    magnitudes: list[float] = torch.maximum(high, -low).tolist()
    double = batch.dtype == torch.float64
    dtype = np.dtype(np.float64) if double else np.dtype(np.float32)
    exponents: list[int] = []
    faults: list[UnscorableError | None] = []
    for place, magnitude in enumerate(magnitudes):
        try:
            exponents.append(scaling_exponent(magnitude, dtype))
            faults.append(None)
        except UnscorableError as fault:
            exponents.append(0)
            faults.append(_fresh(fault))
            batch[place].zero_()
    factors = torch.tensor([2.0**-exponent for exponent in exponents], dtype=batch.dtype)
    batch *= factors.to(batch.device)[:, None, None]
    return exponents, faults


def _fresh(fault: UnscorableError) -> UnscorableError:
    """`fault` without the frames it came through, which would keep their tensors alive."""
    return UnscorableError(str(fault))


def _gram_float32(batch: torch.Tensor) -> torch.Tensor:
    """The smaller Gram matrices, summed in float32. (b, p, p), float64"""
    single = batch.to(torch.float32)
    across = single.mT
    with NO_TF32:
        gram = single @ across if single.shape[1] < single.shape[2] else across @ single
    return gram.to(torch.float64)


def _gram_float64(batch: torch.Tensor) -> torch.Tensor:
    """The smaller Gram matrices in float64, a panel of all of them at a time. (b, p, p)"""
    tall = batch if batch.shape[1] >= batch.shape[2] else batch.mT  # (b, q, p)
    b, q, p = tall.shape
    gram = torch.zeros((b, p, p), dtype=torch.float64, device=batch.device)
    rows = max(1, _PANEL_BYTES // (8 * b * p))
    for begin in range(0, q, rows):
        panel = tall[:, begin : begin + rows].to(torch.float64)  # (b, rows, p)
        gram.baddbmm_(panel.mT, panel)
    return gram


def _roots_of(gram: torch.Tensor) -> list[Values | UnscorableError]:
    """The square roots of the eigenvalues of each matrix, descending.

    Where cuSOLVER's iteration gives up, LAPACK goes on from the same Gram matrix.
    """
    try:
        squares = torch.linalg.eigvalsh(gram).cpu().numpy()
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        if len(gram) > 1:
            return [values for one in gram for values in _roots_of(one[None])]
        try:
            return [roots(gram[0].cpu().numpy())]
        except UnscorableError as fault:
            return [_fresh(fault)]
    return list(np.sqrt(np.maximum(squares[:, ::-1], 0.0)))


def _says(words: str, phrases: Sequence[str]) -> bool:
    return any(phrase in words for phrase in phrases)
