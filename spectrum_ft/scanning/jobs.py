"""What a scan is going to do: which matrices it scores, and why it leaves out the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.checkpoint import Checkpoint
from spectrum_ft.checkpoints.dequantizing import unreadable_reason
from spectrum_ft.checkpoints.naming import Place
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError, PlanError
from spectrum_ft.globs import check_globs, matches
from spectrum_ft.records.scans import SkippedTensor
from spectrum_ft.spectra.measuring import THIN_EXTENT
from spectrum_ft.spectra.scores import SCORES

MATRIX_RANKS = (2, 3)
"""The numbers of axes that are scored: a matrix, and a stack of them, one for each expert."""


MAX_STACK = 16_384
"""The most matrices in one tensor that are scored one by one: many times what a mixture has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One matrix to score: a tensor, or one expert's slice of a 3-D one."""

    entry: TensorEntry
    """Where the bytes of this matrix alone lie; 2-D."""
    tensor_shape: tuple[int, ...]
    """The shape of the whole tensor."""
    place: Place
    """What the tensor is to its model."""
    expert: int | None
    """The index of its expert, from 0; None for anything else."""

    @property
    def key(self) -> tuple[str, int | None]:
        """What no other target of the scan has: the tensor's name and the expert."""
        return self.entry.name, self.expert


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanJob:
    """What a scan is going to do: fixed before any weight is read."""

    checkpoint: Checkpoint
    """Where the weights come from."""
    targets: tuple[Target, ...]
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
    heads and other matrices outside the blocks are not. A 3-D tensor gives a matrix for each index
    of its first axis. Raises `PlanError` for an unknown score or a glob that matches no kind,
    `CheckpointError` if nothing is left to score.
    """
    if score not in SCORES:
        raise PlanError(f"unknown score {score!a}", f"scores: {', '.join(SCORES)}")
    places = checkpoint.places
    scorable = {places[e.name].kind for e in checkpoint.entries if len(e.shape) in MATRIX_RANKS}
    check_globs(kinds, scorable, "kind")
    targets: list[Target] = []
    skipped: list[SkippedTensor] = []
    for entry in checkpoint.entries:
        place = places[entry.name]
        reason = _reason_to_skip(entry, place, kinds)
        if reason is None:
            targets += _matrices(entry, place)
        else:
            skipped.append(SkippedTensor(name=entry.name, shape=entry.shape, reason=reason))
    if not targets:
        reasons = sorted({tensor.reason for tensor in skipped})
        raise CheckpointError(
            f"{checkpoint.source}: no matrix to score ({'; '.join(reasons[:3])})",
            _way_out(checkpoint, kinds),
        )
    return ScanJob(
        checkpoint=checkpoint, targets=tuple(targets), skipped=tuple(skipped), score=score
    )


def _way_out(checkpoint: Checkpoint, kinds: Sequence[str]) -> str:
    if kinds:
        return "choose other kinds"
    if any(entry.packing and entry.packing.reason for entry in checkpoint.entries):
        return "scan the model that it was made from"
    return "name what to score with --kinds"


def largest_first(targets: Sequence[Target]) -> list[Target]:
    """The targets by falling size, those of one shape together; ties in their own order."""
    return sorted(targets, key=lambda target: (-target.entry.num_params, target.entry.shape))


def _matrices(entry: TensorEntry, place: Place) -> Iterator[Target]:
    """The tensor itself, or its slices."""
    if len(entry.shape) == 2:
        yield Target(entry=entry, tensor_shape=entry.shape, place=place, expert=place.expert)
        return
    for expert in range(entry.shape[0]):
        yield Target(entry=entry.part(expert), tensor_shape=entry.shape, place=place, expert=expert)


def _reason_to_skip(entry: TensorEntry, place: Place, kinds: Sequence[str]) -> str | None:
    if entry.num_params == 0:
        return "empty"
    if len(entry.shape) < 2:
        return "vector" if entry.shape else "scalar"
    unreadable = unreadable_reason(entry)
    if unreadable is not None:
        return unreadable
    if len(entry.shape) not in MATRIX_RANKS:
        return f"{len(entry.shape)}-D tensor"
    if len(entry.shape) == 3 and min(entry.shape[1:]) < THIN_EXTENT:
        return f"a stack of {entry.shape[1]} x {entry.shape[2]} kernels"
    if len(entry.shape) == 3 and entry.shape[0] > MAX_STACK:
        return (
            f"a stack of {entry.shape[0]:,} matrices; at most {MAX_STACK:,} are taken for experts"
        )
    if kinds:
        return None if matches(kinds, place.kind) else "kind not asked for"
    return None if place.role == "block" else f"outside the blocks ({place.role})"
