"""What a scan is going to do: which tensors it scores, and why it leaves out the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.checkpoint import Checkpoint
from spectrum_ft.checkpoints.dequantizing import unreadable_reason
from spectrum_ft.checkpoints.naming import Place
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError, PlanError
from spectrum_ft.globs import check_globs, matches
from spectrum_ft.records import SkippedTensor
from spectrum_ft.spectra.scores import SCORES


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
