"""What one matrix costs a scan: reading it, forming its Gram matrix, finding the eigenvalues.

Letters: p = min(m, n), q = max(m, n). The Gram matrix takes p^2 q operations and its eigenvalues
p^3, to a constant. What an operation takes depends on p: small matrices are slowed by the calls,
and the eigenvalues of large ones by memory, since half of the reduction to tridiagonal form is
products with a vector that read the whole matrix each time.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from spectrum_ft.checkpoints.tensors import TensorEntry

# Seconds an operation by p on one core of an AMD EPYC of 2023, as `benchmarks/scaling.py` has it.
_GRAM = ((64, 6.8e-11), (128, 2.3e-11), (512, 1.6e-11), (1024, 1.3e-11), (4096, 9.8e-12))
_EIGENVALUES = (
    *((64, 3.6e-10), (128, 1.5e-10), (256, 7.5e-11), (512, 4.5e-11), (1024, 3.3e-11)),
    *((2048, 2.8e-11), (4096, 3.9e-11), (8192, 4.5e-11)),
)

EACH_SECONDS = 5e-4
"""What a worker spends on a matrix however small it is: opening the file, Python, queues."""

KEEPING_SECONDS = 1e-3
"""What scoring a matrix and keeping its spectrum takes; one thread does that for all workers."""

ESCALATED_SHARE = 0.1
"""Of the matrices, how many float32 is not accurate enough for: 8, 8 and 17 % in three models."""

ESCALATED_TIMES = 2.0
"""How many times as long as in float32 the arithmetic takes in float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds of one worker."""

    reading: float = 0.0
    """Reading, hashing and decoding."""
    gram: float = 0.0
    """The Gram matrix."""
    eigenvalues: float = 0.0
    """Its eigenvalues."""
    again: float = 0.0
    """Doing it once more in float64, times the chance that this is needed."""

    @property
    def computing(self) -> float:
        """What the device does."""
        return self.gram + self.eigenvalues + self.again

    @property
    def total(self) -> float:
        """All of it."""
        return self.reading + self.computing

    def __add__(self, other: Self) -> "Cost":
        return Cost(
            reading=self.reading + other.reading,
            gram=self.gram + other.gram,
            eigenvalues=self.eigenvalues + other.eigenvalues,
            again=self.again + other.again,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Seconds an operation by the smaller extent p.

    An assumed curve, multiplied by what was measured relative to it: interpolated between the
    sizes measured, both in logarithms, and the nearest one's beyond them.
    """

    assumed: tuple[tuple[int, float], ...]
    """Sizes, ascending, and what an operation takes on some machine."""
    measured: Mapping[int, float] = field(default_factory=dict)
    """What it took on this one, by size."""

    def at(self, p: int) -> float:
        """Seconds an operation of a matrix whose smaller extent is `p`."""
        seconds = _between(p, dict(self.assumed))
        if not self.measured:
            return seconds
        relative = {
            size: s / _between(size, dict(self.assumed)) for size, s in self.measured.items()
        }
        return seconds * _between(p, relative)


ASSUMED_GRAM = Curve(assumed=_GRAM)
ASSUMED_EIGENVALUES = Curve(assumed=_EIGENVALUES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """How fast a machine scans, with all its workers at work; by default, how fast one might."""

    gram: Curve = ASSUMED_GRAM
    """Of p^2 q operations."""
    eigenvalues: Curve = ASSUMED_EIGENVALUES
    """Of p^3 operations."""
    byte_seconds: float = 1e-9
    """To copy a byte from memory and to hash it."""
    decode_seconds: Mapping[str, float] = field(default_factory=dict)
    """To decode a weight, by how it is stored."""

    def cost(self, entry: TensorEntry) -> Cost:
        """What the matrix `entry` takes one worker, if it is read from memory."""
        p, q = sorted(entry.shape)
        decoding = self.decode_seconds.get(entry.dtype, 1e-9) * entry.num_params
        reading = EACH_SECONDS + self.byte_seconds * entry.stored_bytes + decoding
        gram = self.gram.at(p) * p * p * q
        eigenvalues = self.eigenvalues.at(p) * p**3
        again = reading + ESCALATED_TIMES * (gram + eigenvalues)
        return Cost(
            reading=reading, gram=gram, eigenvalues=eigenvalues, again=ESCALATED_SHARE * again
        )


def _between(p: int, points: Mapping[int, float]) -> float:
    """The value at `p` between points that lie on lines in logarithms; the last one's beyond."""
    sizes = sorted(points)
    values = [math.log(points[size]) for size in sizes]
    return float(np.exp(np.interp(math.log(p), np.log(sizes), values)))
