"""What a plan may choose from: the matrices of the blocks, ranked within their kind."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.naming import Place
from spectrum_ft.errors import PlanError
from spectrum_ft.globs import check_globs, matches
from spectrum_ft.records import ScannedMatrix, ScanReport
from spectrum_ft.spectra.scores import SCORES

UNRANKED = frozenset({"thin", "vector"})
"""Flags of matrices that no policy of ours chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One unit of choice: a matrix, or the experts of one block that share a kind."""

    names: tuple[str, ...]
    """The tensors that it stands for, in the checkpoint's order."""
    kind: str
    """Their kind."""
    layer: int | None
    """Their block."""
    value: float
    """The score, mean over the tensors; infinite where `snr` is unbounded, 0 without a score."""
    flags: frozenset[str]
    """The flags of its tensors."""


def ranked_candidates(
    matrices: Sequence[ScannedMatrix], *, score: str | None
) -> dict[str, list[Candidate]]:
    """The candidates of each kind, best first; ties keep the order of `matrices`.

    The experts of one block are loaded as one parameter, so they are one candidate, scored by
    their mean. Without a score all are equal. Raises `PlanError` for a score that is missing.
    """
    units: dict[tuple[str, int | None, str | None], list[ScannedMatrix]] = defaultdict(list)
    for matrix in matrices:
        alone = matrix.name if matrix.expert is None else None
        units[matrix.kind, matrix.layer, alone].append(matrix)
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for (kind, _, _), members in units.items():
        groups[kind].append(_candidate(members, kind, score))
    high = score is None or SCORES[score].better == "high"
    return {
        kind: sorted(candidates, key=lambda candidate: candidate.value, reverse=high)
        for kind, candidates in groups.items()
    }


def single_candidate(matrix: ScannedMatrix, kind: str, score: str) -> Candidate:
    """`matrix` on its own as a candidate of `kind`."""
    return _candidate([matrix], kind, score)


def _candidate(members: Sequence[ScannedMatrix], kind: str, score: str | None) -> Candidate:
    return Candidate(
        names=tuple(matrix.name for matrix in members),
        kind=kind,
        layer=members[0].layer,
        value=sum(score_value(m, score) for m in members) / len(members) if score else 0.0,
        flags=frozenset(flag for matrix in members for flag in matrix.flags),
    )


def block_matrices(report: ScanReport, places: Mapping[str, Place]) -> list[ScannedMatrix]:
    """The matrices that our policies choose from: in a block, and neither thin nor a vector.

    The experts of a block are loaded as one parameter: if one of them cannot be chosen, none is.
    """
    usable = [
        matrix
        for matrix in report.matrices
        if places[matrix.name].role == "block" and UNRANKED.isdisjoint(matrix.flags)
    ]
    all_experts = Counter(
        (place.kind, place.layer)
        for place in places.values()
        if place.role == "block" and place.expert is not None
    )
    usable_experts = count_experts(usable)
    return [
        matrix
        for matrix in usable
        if matrix.expert is None
        or usable_experts[matrix.kind, matrix.layer] == all_experts[matrix.kind, matrix.layer]
    ]


def count_experts(matrices: Iterable[ScannedMatrix]) -> Counter[tuple[str, int | None]]:
    """How many experts there are of each kind and layer."""
    return Counter((m.kind, m.layer) for m in matrices if m.expert is not None)


def refuse_split_experts(before: Sequence[ScannedMatrix], after: Sequence[ScannedMatrix]) -> None:
    """Raise `PlanError` if only some experts of a block are left: they are one parameter."""
    counts = count_experts(before)
    for (kind, layer), left in count_experts(after).items():
        if left < counts[kind, layer]:
            raise PlanError(
                f"the experts of layer {layer}, {ascii(kind)[1:-1]}, train together or not at all",
                "exclude all of them, or none",
            )


def filtered(
    matrices: Sequence[ScannedMatrix], kinds: Sequence[str], exclude: Sequence[str]
) -> list[ScannedMatrix]:
    """Those whose kind matches a glob of `kinds` (any, if empty) and that `exclude` spares.

    `exclude` holds globs over kinds and tensor names. Raises `PlanError` for a glob of `kinds`
    that matches nothing, and where nothing is left.
    """
    check_globs(kinds, {matrix.kind for matrix in matrices}, "kind")
    left = [
        matrix
        for matrix in matrices
        if (not kinds or matches(kinds, matrix.kind))
        and not matches(exclude, matrix.kind, matrix.name)
    ]
    if not left:
        raise PlanError("no matrix is left to choose from", "widen --kinds or --exclude")
    return left


def score_value(matrix: ScannedMatrix, score: str) -> float:
    """The score of `matrix`, infinite where it is unbounded; `PlanError` where there is none."""
    if score not in SCORES:
        raise PlanError(f"unknown score {score!a}", f"scores: {', '.join(SCORES)}")
    value = matrix.scores.get(score)
    if value is not None:
        return value
    if score == "snr" and "saturated" in matrix.flags:
        return math.inf
    if (
        SCORES[score].better == "low"
        and "unresolved" not in matrix.flags
        and score in matrix.scores
    ):
        return math.inf  # of a singular matrix, and known to be: it comes last
    raise PlanError(
        f"{ascii(matrix.name)[1:-1]} has no {score} in this scan",
        f"scan the model again with --score {score}, or choose another score",
    )
