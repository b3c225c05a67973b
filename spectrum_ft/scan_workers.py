"""One matrix of a scan, from its bytes to its scores: what a worker does."""

import threading
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.checkpoint import content_digest, read_bytes
from spectrum_ft.checkpoints.dequantizing import decode
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError
from spectrum_ft.records import ScannedMatrix, SkippedTensor
from spectrum_ft.scan_jobs import ScanJob
from spectrum_ft.spectra.measuring import Measurement, measure
from spectrum_ft.spectra.resolving import is_resolved
from spectrum_ft.spectra.scores import Shape
from spectrum_ft.spectra.solvers import (
    METHODS,
    Matrix,
    Method,
    UnscorableError,
    Values,
    singular_values,
)
from spectrum_ft.spectra.store import SpectraStore

FLOATS_PER_WORKER = 3
"""Peak memory of a worker in units of its matrix in float32: bytes as read, values, Gram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a worker hands over: the result, and what the store does not have yet."""

    result: ScannedMatrix | SkippedTensor
    digest: str
    computed: dict[Method, Values]
    known: bool


def scan_one(
    entry: TensorEntry, job: ScanJob, store: SpectraStore, careful: threading.Lock
) -> Finished:
    """One matrix from its bytes to its scores."""
    shape = (entry.shape[0], entry.shape[1])
    spectrum = _Spectrum(entry, store, careful)
    result: ScannedMatrix | SkippedTensor
    try:
        values, method = spectrum.find(shape, job.score)
        result = _matrix(entry, job, spectrum.digest, measure(values, shape, method))
    except UnscorableError as fault:
        result = SkippedTensor(name=entry.name, shape=entry.shape, reason=str(fault))
    except MemoryError:
        needed = 4 * FLOATS_PER_WORKER * entry.num_params / 2**30
        raise CheckpointError(
            f"{ascii(entry.name)[1:-1]}: not enough memory (about {needed:.1f} GiB needed)",
            "pass --workers 1, or free some memory; what was scanned so far is kept",
        ) from None
    return Finished(
        result=result,
        digest=spectrum.digest,
        computed=spectrum.computed,
        known=spectrum.known,
    )


def _matrix(entry: TensorEntry, job: ScanJob, digest: str, measured: Measurement) -> ScannedMatrix:
    place = job.checkpoint.places[entry.name]
    return ScannedMatrix(
        name=entry.name,
        kind=place.kind,
        layer=place.layer,
        expert=place.expert,
        shape=entry.shape,
        dtype=entry.dtype,
        scores=measured.scores,
        spectrum=measured.summary,
        edge=measured.edge,
        signal_rank=measured.signal_rank,
        digest=digest,
        flags=measured.flags,
    )


class _Spectrum:
    """The singular values of one tensor, kept or computed, by the cheapest method that will do."""

    def __init__(self, entry: TensorEntry, store: SpectraStore, careful: threading.Lock) -> None:
        raw = read_bytes(entry)
        self.digest = content_digest(raw, entry)
        self.computed: dict[Method, Values] = {}
        self.known = False
        self._entry = entry
        self._store = store
        self._careful = careful
        # The first solver takes these bytes over, so that it can free them half-way.
        self._unread: list[NDArray[np.uint8]] = [raw]

    def find(self, shape: Shape, score: str) -> tuple[Values, Method]:
        """Values and the method that was accurate enough for the scores; `UnscorableError`."""
        for method in METHODS:
            values = self._store.get(self.digest, method)
            self.known |= values is not None
            if values is None:
                values = self._compute(method)
            if is_resolved(values, shape, method, for_score=score):
                return values, method
        raise AssertionError("the last method always resolves")

    def _compute(self, method: Method) -> Values:
        # The costlier methods take more memory than a worker's share: one at a time.
        with nullcontext() if method == METHODS[0] else self._careful:
            self.computed[method] = singular_values(self._take, method)
        return self.computed[method]

    def _take(self) -> Matrix:
        raw = self._unread.pop() if self._unread else read_bytes(self._entry)
        return decode(raw, self._entry)
