"""Singular values of one matrix, and how far each may be off.

Letters: W is m x n, p = min(m, n), q = max(m, n); S are the p singular values, descending.

The values are the square roots of the eigenvalues of the smaller Gram matrix, p x p: no vectors
are formed, and a symmetric rank-q update costs half of a product. Squaring W squares its
condition number, so small values are less certain than large ones; `uncertainty` says by how
much, and `spectrum_ft.spectra.resolving` decides when a more careful method is worth its cost.
"""

import math
import os
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.spectra.lapack import Real, add_gram, eigenvalues

Matrix = NDArray[np.float32] | NDArray[np.float64]
Values = NDArray[np.float64]
Method = Literal["gram32", "gram64", "svd64"]

METHODS: tuple[Method, ...] = ("gram32", "gram64", "svd64")
"""Cheapest first: each is more accurate, slower and larger in memory than the one before."""

MAX_MAGNITUDE = 1e60
"""Far beyond float32 on both ends; squares and sums of such values still fit float64."""

PANEL_BYTES = 32 * 2**20
"""How much of a matrix is widened to float64 at a time."""

EIGENVALUE_ERROR = 0.125
"""How far an eigenvalue may be off for being found in floating point, in p units of roundoff."""

CPU_BACKEND = "cpu-1"
"""Which arithmetic `CpuSolver` does, for keys. Raise it when that changes."""


class UnscorableError(Exception):
    """A matrix that has no meaningful singular values; the text is the reason for a report."""


class OutOfDeviceMemoryError(Exception):
    """A device other than the CPU had no room for the matrices; it has freed what it took."""


class Solver(Protocol):
    """What computes singular values; safe to share between threads."""

    @property
    def backend(self) -> str:
        """Which arithmetic it does: part of the key under which its results are kept."""

    @property
    def device(self) -> str:
        """What it computes on, in words for a report."""

    @property
    def workers(self) -> int:
        """How many threads may compute with it at a time, unless the user says otherwise."""

    def batch_size(self, shape: tuple[int, int]) -> int:
        """How many matrices of that shape it computes best at a time."""

    def solve(
        self, takes: Sequence[Callable[[], "Matrix"]], method: Method
    ) -> "list[Values | UnscorableError]":
        """The singular values of matrices of equal shape, or why one has none.

        See `singular_values` for the rest. Raises `OutOfDeviceMemoryError`.
        """


class CpuSolver:
    """The solvers of this module, one matrix at a time."""

    backend = CPU_BACKEND
    device = "cpu"

    def __init__(self) -> None:
        # Only Linux can tell how many of the processors this process may use.
        affinity = getattr(os, "sched_getaffinity", None)
        self.workers = len(affinity(0)) if affinity else os.cpu_count() or 1

    def batch_size(self, shape: tuple[int, int]) -> int:
        """One: a processor gains nothing from several."""
        return 1

    def solve(
        self, takes: Sequence[Callable[[], "Matrix"]], method: Method
    ) -> "list[Values | UnscorableError]":
        """The singular values of each matrix; see `Solver`."""
        results: list[Values | UnscorableError] = []
        for take in takes:
            try:
                results.append(singular_values(take, method))
            except UnscorableError as fault:
                # Not the fault itself: its frames would keep the matrix alive.
                results.append(UnscorableError(str(fault)))
        return results


def largest_magnitude(matrix: Matrix) -> float:
    """max |w| over all entries; NaN if any entry is NaN, inf if any is infinite.

    Made of two reductions because `abs(matrix)` would need a second matrix. Checked before any
    solver sees the matrix: LAPACK may answer finite values for a NaN, or never return on an Inf.
    """
    return max(float(matrix.max()), -float(matrix.min()))


def singular_values(take: Callable[[], Matrix], method: Method) -> Values:
    """The p singular values of a finite, non-zero matrix, descending, float64.

    `take` hands the matrix over: it is overwritten, and freed as soon as its Gram matrix stands.
    The entries are first scaled by a power of two to at most 1, which is exact and keeps the
    squares of very large and very small weights in range; so a matrix scaled by a power of two
    has exactly scaled values. Raises `UnscorableError`.
    """
    matrix = take()
    exponent = scaling_exponent(largest_magnitude(matrix), matrix.dtype)
    scaled = np.multiply(matrix, matrix.dtype.type(2.0**-exponent), out=matrix)
    del matrix
    if method == "svd64":
        double = scaled.astype(np.float64)
        del scaled
        return np.ldexp(_direct(double), exponent)
    if method == "gram32":
        single = _gram_float32(scaled)
        del scaled
        return np.ldexp(roots(single), exponent)
    double = _gram_float64(scaled)
    del scaled
    return np.ldexp(roots(double), exponent)


def scaling_exponent(magnitude: float, dtype: np.dtype[np.float32] | np.dtype[np.float64]) -> int:
    """The exponent of a largest entry in base 2, as far as `dtype` can hold its inverse.

    `UnscorableError` if a matrix with that largest entry has no values to score.
    """
    if not math.isfinite(magnitude):
        raise UnscorableError("holds NaN or infinite weights")
    if magnitude == 0.0:
        raise UnscorableError("all weights are zero")
    if not 1.0 / MAX_MAGNITUDE < magnitude < MAX_MAGNITUDE:
        raise UnscorableError(f"weights of {magnitude:.0e}, out of the range of float32")
    _, exponent = math.frexp(magnitude)
    most = int(np.finfo(dtype).maxexp) - 2
    return max(-most, min(exponent, most))


def roots(gram: NDArray[Real]) -> Values:
    """The square roots of the eigenvalues, descending; rounding below zero counts as zero."""
    try:
        squares = eigenvalues(gram)
    except np.linalg.LinAlgError:
        raise UnscorableError("the singular values did not converge") from None
    return np.sqrt(np.maximum(squares[::-1].astype(np.float64), 0.0))


def _direct(matrix: Values) -> Values:
    """The singular values by a float64 SVD; `UnscorableError` if it does not converge."""
    try:
        return np.linalg.svd(matrix, compute_uv=False).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        raise UnscorableError("the singular values did not converge") from None


def _gram_float32(matrix: Matrix) -> NDArray[np.float32]:
    """The smaller Gram matrix in float32; only its lower triangle is filled. (p, p)"""
    m, n = matrix.shape
    gram = np.zeros((min(m, n), min(m, n)), dtype=np.float32)
    add_gram(matrix.astype(np.float32, copy=False), gram, of="rows" if m < n else "columns")
    return gram


def _gram_float64(matrix: Matrix) -> NDArray[np.float64]:
    """The smaller Gram matrix in float64, from one panel at a time. (p, p), lower triangle"""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T  # (q, p)
    q, p = tall.shape
    gram = np.zeros((p, p), dtype=np.float64)
    rows = max(1, PANEL_BYTES // (8 * p))
    for begin in range(0, q, rows):
        panel = np.ascontiguousarray(tall[begin : begin + rows], dtype=np.float64)  # (rows, p)
        add_gram(panel, gram, of="columns")
        del panel  # or it would live on while the next one is made
    return gram


def uncertainty(values: Values, shape: tuple[int, int], method: Method) -> Values:
    """How far each singular value may be from the true one, in the unit of the values. (p,)

    For a Gram matrix formed with unit roundoff u: |s^2 - s_hat^2| <= sqrt(m + n) u s_max^2 (the
    probabilistic rounding bound of Higham and Mary 2019, where the classical one has m + n), so
    |s - s_hat| <= sqrt(m + n) u s_max^2 / (s + s_hat), which is evaluated at the worse end. On top
    comes what finding the eigenvalues in the same precision adds: on pure noise, where the largest
    lie close together, those were seen to be off by up to p u / 10 of themselves. A direct SVD is
    backward stable: the same bound without the square.
    """
    roundoff = 2.0**-24 if method == "gram32" else 2.0**-53
    relative = math.sqrt(sum(shape)) * roundoff
    top = values[0] if len(values) else 0.0
    if method == "svd64":
        return np.full_like(values, relative * top)
    squares = values**2
    bound = relative * top**2 + EIGENVALUE_ERROR * len(values) * roundoff * squares
    lowest = np.sqrt(np.maximum(squares - bound, 0.0))
    # Below sqrt(bound) the true value may be anything from 0 to about twice that.
    safe = np.maximum(values + lowest, np.sqrt(bound))
    return bound / safe
