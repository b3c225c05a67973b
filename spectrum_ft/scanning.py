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

import psutil
from threadpoolctl import threadpool_limits

from spectrum_ft.checkpoints.checkpoint import Checkpoint, fingerprint, open_checkpoint
from spectrum_ft.environment import command_line, current_environment, shown_path
from spectrum_ft.records import ModelInfo, ScannedMatrix, ScanReport, SkippedTensor
from spectrum_ft.scan_jobs import ScanJob, prepare_scan
from spectrum_ft.scan_workers import FLOATS_PER_WORKER, Finished, scan_one
from spectrum_ft.spectra.store import SpectraStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """One finished matrix."""

    result: ScannedMatrix | SkippedTensor
    """Its scores, or why it has none."""
    reused: bool
    """Whether its spectrum came from the store, so that nothing was computed."""


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
        futures = {executor.submit(scan_one, e, job, store, careful) for e in largest_first}
        patient = True
        try:
            for future in as_completed(futures):
                futures.remove(future)
                yield _kept(future.result(), store)
        except BaseException as stop:
            # Whoever interrupts the process does not want to wait for a large matrix.
            patient = isinstance(stop, GeneratorExit | Exception)
            raise
        finally:
            executor.shutdown(wait=patient, cancel_futures=True)
            for future in futures:  # finished, but nobody waited for them
                if future.done() and not future.cancelled() and future.exception() is None:
                    _kept(future.result(), store)


def _kept(finished: Finished, store: SpectraStore) -> Scanned:
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
