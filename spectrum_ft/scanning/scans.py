"""The scan: every matrix of a checkpoint, read once, scored, and reported as it is done."""

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from spectrum_ft.checkpoints.checkpoint import Checkpoint, fingerprint, open_checkpoint
from spectrum_ft.environment import command_line, current_environment, shown_path
from spectrum_ft.records.scans import Flag, ModelInfo, ScannedMatrix, ScanReport, SkippedTensor
from spectrum_ft.scanning.compute import Compute, Engine, open_engine
from spectrum_ft.scanning.jobs import ScanJob, Target, prepare_scan
from spectrum_ft.scanning.solving import Solved
from spectrum_ft.spectra.measuring import Measurement, measure
from spectrum_ft.spectra.solvers import UnscorableError
from spectrum_ft.spectra.store import SpectraStore

Result = ScannedMatrix | SkippedTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """One finished matrix."""

    target: Target
    """The matrix."""
    result: Result
    """Its scores, or why it has none."""
    reused: bool
    """Whether its spectrum came from the store, so that nothing was computed."""
    lacking_bytes: int = 0
    """The memory that it would have needed beyond what the scan may use; 0 if it had enough."""


def iter_scan(job: ScanJob, store: SpectraStore, engine: Engine | None = None) -> Iterator[Scanned]:
    """Each matrix of the job as it is finished, largest first; order is not guaranteed.

    Without an `engine`, this machine computes with all it has. Spectra already in `store` are not
    computed again, new ones are kept there at once, so a scan that was killed goes on where it
    stopped. Raises `CheckpointError` if a file turns out to be damaged, or changes under the scan,
    `ComputeError` where memory or a device is lacking.
    """
    for solved in (engine or open_engine(Compute())).solve_all(job, store):
        yield Scanned(
            target=solved.target,
            result=_result(solved),
            reused=solved.reused,
            lacking_bytes=solved.lacking_bytes,
        )


def scan(
    source: str,
    *,
    kinds: Sequence[str] = (),
    score: str = "snr",
    store: SpectraStore | None = None,
    compute: Compute | None = None,
    allow_pickle: bool = False,
    stream: bool = False,
) -> ScanReport:
    """The scan report of a model: `open_checkpoint`, `prepare_scan` and `iter_scan` in one call.

    Without a `store`, the user's own keeps the spectra; one that is given stays open. Raises
    `SpectrumError`.
    """
    started = time.monotonic()
    checkpoint = open_checkpoint(source, allow_pickle=allow_pickle, stream=stream)
    job = prepare_scan(checkpoint, kinds=kinds, score=score)
    engine = open_engine(compute or Compute())
    with SpectraStore.in_user_cache() if store is None else nullcontext(store) as spectra:
        results = [scanned.result for scanned in iter_scan(job, spectra, engine)]
    return scan_report(job, results, device=engine.device, seconds=time.monotonic() - started)


def scan_report(
    job: ScanJob, results: Sequence[Result], *, device: str, seconds: float
) -> ScanReport:
    """The record of a finished job, in the checkpoint's order whatever the order of `results`."""
    order = {entry.name: place for place, entry in enumerate(job.checkpoint.entries)}

    def place(result: Result) -> tuple[int, int]:
        return order[result.name], result.expert or 0

    assert len(results) == len(job.targets)
    matrices = [result for result in results if isinstance(result, ScannedMatrix)]
    skipped = [result for result in results if isinstance(result, SkippedTensor)]
    return ScanReport(
        model=model_info(job.checkpoint),
        score=job.score,
        matrices=tuple(sorted(matrices, key=place)),
        skipped=tuple(sorted([*job.skipped, *skipped], key=place)),
        environment=current_environment(device=device),
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


def _result(solved: Solved) -> Result:
    """What a record says of a matrix, from its singular values."""
    target = solved.target
    reason = solved.reason
    if solved.values is not None:
        try:
            shape = (target.entry.shape[0], target.entry.shape[1])
            return _matrix(solved, measure(solved.values, shape, solved.method))
        except UnscorableError as fault:
            reason = str(fault)
    assert reason is not None
    is_slice = target.tensor_shape != target.entry.shape
    return SkippedTensor(
        name=target.entry.name,
        shape=target.tensor_shape,
        reason=reason,
        expert=target.expert if is_slice else None,
    )


def _matrix(solved: Solved, measured: Measurement) -> ScannedMatrix:
    target = solved.target
    fallback: tuple[Flag, ...] = ("fallback",) if solved.fallback else ()
    return ScannedMatrix(
        name=target.entry.name,
        kind=target.place.kind,
        layer=target.place.layer,
        expert=target.expert,
        shape=target.tensor_shape,
        dtype=target.entry.dtype,
        scores=measured.scores,
        spectrum=measured.summary,
        edge=measured.edge,
        signal_rank=measured.signal_rank,
        digest=solved.digest,
        flags=(*measured.flags, *fallback),
    )
