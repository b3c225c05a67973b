"""The scan: every matrix of a checkpoint, read once, scored, and reported as it is done.

Workers are threads with one BLAS thread each: BLAS and LAPACK release the interpreter, and two
workers of one thread finish 1.7 times as many matrices as one worker of two. With the number of
BLAS threads fixed, the result does not depend on the number of workers.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import psutil
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from spectrum_ft.checkpoints.checkpoint import (
    Checkpoint,
    content_digest,
    fingerprint,
    open_checkpoint,
    read_bytes,
)
from spectrum_ft.checkpoints.dequantizing import decode, unreadable_reason
from spectrum_ft.checkpoints.naming import Place
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.environment import command_line, current_environment, shown_path
from spectrum_ft.errors import CheckpointError, PlanError
from spectrum_ft.globs import check_globs, matches
from spectrum_ft.records import ModelInfo, ScannedMatrix, ScanReport, SkippedTensor
from spectrum_ft.spectra.measuring import Measurement, measure
from spectrum_ft.spectra.resolving import is_resolved
from spectrum_ft.spectra.scores import SCORES, Shape
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
class ScanJob:
    """What a scan is going to do: fixed before any weight is read."""

    checkpoint: Checkpoint
    """Where the weights come from."""
    targets: tuple[TensorEntry, ...]
    """The matrices to score, in the checkpoint's order."""
    skipped: tuple[SkippedTensor, ...]
    """The tensors that will not be read, with reasons."""
    score: str
    """The score that has to be accurate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """One finished matrix."""

    result: ScannedMatrix | SkippedTensor
    """Its scores, or why it has none."""
    reused: bool
    """Whether its spectrum came from the store, so that nothing was computed."""


def prepare_scan(
    checkpoint: Checkpoint, *, kinds: Sequence[str] = (), score: str = "snr"
) -> ScanJob:
    """The matrices that a scan will score, and the rest with reasons; no weight is read.

    `kinds` are globs over kinds; without them every matrix in a block is scored, and embeddings,
    heads and other matrices outside the blocks are not. Raises `PlanError` for an unknown score or
    a glob that matches no kind, `CheckpointError` if nothing is left to score.
    """
    if score not in SCORES:
        raise PlanError(f"unknown score {score!a}", f"scores: {', '.join(SCORES)}")
    places = checkpoint.places
    two_dimensional = {places[e.name].kind for e in checkpoint.entries if len(e.shape) == 2}
    check_globs(kinds, two_dimensional, "kind")
    targets: list[TensorEntry] = []
    skipped: list[SkippedTensor] = []
    for entry in checkpoint.entries:
        reason = _reason_to_skip(entry, places[entry.name], kinds)
        if reason is None:
            targets.append(entry)
        else:
            skipped.append(SkippedTensor(name=entry.name, shape=entry.shape, reason=reason))
    if not targets:
        reasons = sorted({tensor.reason for tensor in skipped})
        raise CheckpointError(
            f"{checkpoint.source}: no matrix to score ({'; '.join(reasons[:3])})",
            "name what to score with --kinds" if not kinds else "choose other kinds",
        )
    return ScanJob(
        checkpoint=checkpoint, targets=tuple(targets), skipped=tuple(skipped), score=score
    )


def _reason_to_skip(entry: TensorEntry, place: Place, kinds: Sequence[str]) -> str | None:
    if entry.num_params == 0:
        return "empty"
    if len(entry.shape) < 2:
        return "vector" if entry.shape else "scalar"
    if len(entry.shape) > 2:
        return f"{len(entry.shape)}-D tensor: not supported yet"
    unreadable = unreadable_reason(entry.dtype)
    if unreadable is not None:
        return unreadable
    if kinds:
        return None if matches(kinds, place.kind) else "kind not asked for"
    return None if place.role == "block" else f"outside the blocks ({place.role})"


def iter_scan(
    job: ScanJob, store: SpectraStore, *, workers: int | None = None
) -> Iterator[Scanned]:
    """Each matrix of the job as it is finished, largest first; order is not guaranteed.

    Spectra already in `store` are not computed again, new ones are kept there at once, so a scan
    that was killed goes on where it stopped. Raises `CheckpointError` if a file turns out to be
    damaged, or changes under the scan.
    """
    count = workers or default_workers(job)
    careful = threading.Lock()
    largest_first = sorted(job.targets, key=lambda entry: -entry.num_params)
    executor = ThreadPoolExecutor(count, thread_name_prefix="scan")
    with threadpool_limits(1, user_api="blas"):
        futures = {executor.submit(_scan_one, e, job, store, careful) for e in largest_first}
        try:
            for future in as_completed(futures):
                futures.remove(future)
                yield _kept(future.result(), store)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            for future in futures:  # finished, but nobody waited for them
                if not future.cancelled() and future.exception() is None:
                    _kept(future.result(), store)


def _kept(finished: "_Finished", store: SpectraStore) -> Scanned:
    """The result of a matrix, after its new spectra are in the store.

    Here rather than in the workers: they compute while the disk confirms.
    """
    if finished.computed:
        store.put(finished.digest, finished.computed)
    return Scanned(result=finished.result, reused=not finished.computed and finished.known)


def default_workers(job: ScanJob) -> int:
    """As many workers as there are processors, or as the free memory has room for; at least 1."""
    largest = 4 * max(entry.num_params for entry in job.targets)
    room = psutil.virtual_memory().available // (2 * FLOATS_PER_WORKER * largest)
    return max(1, min(_num_processors(), room))


def _num_processors() -> int:
    # Only Linux can tell how many of them this process may use.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def scan(
    source: str,
    *,
    kinds: Sequence[str] = (),
    score: str = "snr",
    store: SpectraStore | None = None,
    workers: int | None = None,
    allow_pickle: bool = False,
) -> ScanReport:
    """The scan report of a model: `open_checkpoint`, `prepare_scan` and `iter_scan` in one call.

    Without a `store`, the user's own keeps the spectra; one that is given stays open. Raises
    `SpectrumError`.
    """
    started = time.monotonic()
    job = prepare_scan(open_checkpoint(source, allow_pickle=allow_pickle), kinds=kinds, score=score)
    with SpectraStore.in_user_cache() if store is None else nullcontext(store) as spectra:
        results = [scanned.result for scanned in iter_scan(job, spectra, workers=workers)]
    return scan_report(job, results, seconds=time.monotonic() - started)


def scan_report(
    job: ScanJob, results: Sequence[ScannedMatrix | SkippedTensor], *, seconds: float
) -> ScanReport:
    """The record of a finished job, in the checkpoint's order whatever the order of `results`."""
    order = {entry.name: place for place, entry in enumerate(job.checkpoint.entries)}
    matrices = [result for result in results if isinstance(result, ScannedMatrix)]
    skipped = [result for result in results if isinstance(result, SkippedTensor)]
    return ScanReport(
        model=model_info(job.checkpoint),
        score=job.score,
        matrices=tuple(sorted(matrices, key=lambda matrix: order[matrix.name])),
        skipped=tuple(sorted([*job.skipped, *skipped], key=lambda tensor: order[tensor.name])),
        environment=current_environment(device="cpu"),
        seconds=round(seconds, 3),
        command=command_line(),
    )


def model_info(checkpoint: Checkpoint) -> ModelInfo:
    """What a record says of the model behind `checkpoint`."""
    return ModelInfo(
        source=shown_path(checkpoint.source),
        revision=checkpoint.revision,
        fingerprint=fingerprint(checkpoint.entries),
        parameters=checkpoint.num_params,
        layers=checkpoint.num_layers,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished:
    """What a worker hands over: the result, and what the store does not have yet."""

    result: ScannedMatrix | SkippedTensor
    digest: str
    computed: dict[Method, Values]
    known: bool


def _scan_one(
    entry: TensorEntry, job: ScanJob, store: SpectraStore, careful: threading.Lock
) -> _Finished:
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
    return _Finished(
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
