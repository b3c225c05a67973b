"""What a plan may choose from: the matrices of the blocks, ranked within their kind."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.naming import Place
from spectrum_ft.errors import PlanError
from spectrum_ft.globs import check_globs, matches
from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft.spectra.scores import SCORES

Shapes = Mapping[str, Sequence[int]]

UNRANKED = frozenset({"thin", "vector"})
"""Flags of matrices that no policy of ours chooses."""

FUSED = (("gate_proj", "up_proj"), ("w1", "w3"), ("ffn_gate_exps", "ffn_up_exps"))
"""What transformers loads as one parameter for all experts of a block: `gate_up_proj`.

The spellings of a gated MLP's two inputs (Qwen-MoE, DeepSeek; Mixtral; GGUF), whether experts are
numbered or stacked in one tensor. Outside the experts they stay matrices of their own, and a tensor
that holds both already has no partner.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One unit of choice: a matrix, or the experts of one block that share a kind."""

    names: tuple[str, ...]
    """The tensors that it stands for, in the checkpoint's order; each once."""
    kind: str
    """Their kind, see `unit_kinds`."""
    layer: int | None
    """Their block."""
    value: float
    """The score, mean over the matrices; infinite where `snr` is unbounded, 0 without a score."""
    flags: frozenset[str]
    """The flags of its matrices."""


def ranked_candidates(
    matrices: Sequence[ScannedMatrix], *, score: str | None
) -> dict[str, list[Candidate]]:
    """The candidates of each kind, best first; ties keep the order of `matrices`.

    The experts of one block are loaded as one parameter, so they are one candidate, scored by
    their mean, and so are their gate and up matrices together, in however few tensors they are
    stored. Without a score all are equal. Raises `PlanError` for a score that is missing.
    """
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for (kind, _, _), members in group_units(matrices).items():
        groups[kind].append(joint_candidate(members, kind, score))
    high = score is None or SCORES[score].better == "high"
    return {
        kind: sorted(candidates, key=lambda candidate: candidate.value, reverse=high)
        for kind, candidates in groups.items()
    }


def group_units(
    matrices: Iterable[ScannedMatrix],
) -> dict[tuple[str, int | None, str | None], list[ScannedMatrix]]:
    """What is planned as one, by its kind (see `unit_kinds`), layer and name, as they come.

    A matrix of its own, or the experts of one block that share a kind, which have no name.
    """
    matrices = list(matrices)
    kinds = unit_kinds(matrices)
    units: dict[tuple[str, int | None, str | None], list[ScannedMatrix]] = defaultdict(list)
    for matrix in matrices:
        alone = matrix.name if matrix.expert is None else None
        units[kinds[matrix.kind], matrix.layer, alone].append(matrix)
    return units


def joint_candidate(members: Sequence[ScannedMatrix], kind: str, score: str | None) -> Candidate:
    """`members` as one candidate of `kind`; several of them may be slices of one tensor."""
    return Candidate(
        names=tuple(dict.fromkeys(matrix.name for matrix in members)),
        kind=kind,
        layer=members[0].layer,
        value=sum(score_value(m, score) for m in members) / len(members) if score else 0.0,
        flags=frozenset(flag for matrix in members for flag in matrix.flags),
    )


def unit_kinds(matrices: Iterable[ScannedMatrix]) -> dict[str, str]:
    """The kind under which each kind is planned: its own, or `experts.w1+w3` for experts' pairs.

    `matrices` are all that matter: a kind joins its partner only where that is among them.
    """
    return _joined((matrix.kind, matrix.expert is not None) for matrix in matrices)


def model_kinds(shapes: Shapes, places: Mapping[str, Place]) -> dict[str, str]:
    """What `unit_kinds` says where every tensor of the model matters, scored or not."""
    return _joined((place.kind, _is_of_experts(n, shapes, places)) for n, place in places.items())


def _joined(kinds_of_tensors: Iterable[tuple[str, bool]]) -> dict[str, str]:
    """The planned kind of each kind; with each tensor's kind comes whether experts own it."""
    kinds: dict[str, bool] = {}
    for kind, of_experts in kinds_of_tensors:
        kinds[kind] = kinds.get(kind, False) or of_experts
    planned = {kind: kind for kind in kinds}
    for kind in [kind for kind, of_experts in kinds.items() if of_experts]:
        for gate, up in FUSED:
            stem = kind.removesuffix(gate)
            partner = stem + up
            if stem != kind and (not stem or stem.endswith(".")) and kinds.get(partner):
                planned[kind] = planned[partner] = f"{kind}+{up}"
    return planned


def _is_of_experts(name: str, shapes: Shapes, places: Mapping[str, Place]) -> bool:
    """Whether a tensor holds one numbered expert's matrix, or a stack of matrices."""
    place = places[name]
    return place.expert is not None or (place.role == "block" and len(shapes[name]) > 2)


def block_matrices(report: ScanReport, places: Mapping[str, Place]) -> list[ScannedMatrix]:
    """The matrices that our policies choose from: in a block, and neither thin nor a vector.

    Of what is loaded as one parameter, the experts of a block: if one cannot be chosen, none is.
    Neither is a stacked tensor of which the report lacks a slice.
    """
    usable = [
        matrix
        for matrix in report.matrices
        if places[matrix.name].role == "block" and UNRANKED.isdisjoint(matrix.flags)
    ]
    shapes = report.shapes
    kinds = model_kinds(shapes, places)
    unit = {name: (kinds[place.kind], place.layer) for name, place in places.items()}
    whole: Counter[tuple[str, int | None]] = Counter()
    for name, place in places.items():
        if place.role == "block" and _is_of_experts(name, shapes, places):
            whole[unit[name]] += math.prod(shapes[name][:-2])  # 1 for a single matrix
    left = Counter(unit[matrix.name] for matrix in usable if matrix.expert is not None)
    return [
        matrix
        for matrix in usable
        if matrix.expert is None or left[unit[matrix.name]] == whole[unit[matrix.name]]
    ]


def _count_experts(
    matrices: Iterable[ScannedMatrix], kinds: Mapping[str, str]
) -> Counter[tuple[str, int | None]]:
    """How many experts' matrices there are of each planned kind (see `unit_kinds`) and layer."""
    return Counter((kinds[m.kind], m.layer) for m in matrices if m.expert is not None)


def refuse_split_experts(before: Sequence[ScannedMatrix], after: Sequence[ScannedMatrix]) -> None:
    """Raise `PlanError` if only a part of a block's experts is left: they are one parameter."""
    kinds = unit_kinds(before)
    counts = _count_experts(before, kinds)
    for (kind, layer), left in _count_experts(after, kinds).items():
        if left < counts[kind, layer]:
            raise PlanError(
                f"the experts of layer {layer}, {ascii(kind)[1:-1]}, train together or not at all",
                "choose all of them, or none: they are loaded as one parameter",
            )


def filtered(
    matrices: Sequence[ScannedMatrix], kinds: Sequence[str], exclude: Sequence[str]
) -> list[ScannedMatrix]:
    """Those whose kind matches a glob of `kinds` (any, if empty) and that `exclude` spares.

    `exclude` holds globs over kinds and tensor names; a kind may be the planned one of
    `unit_kinds`. Raises `PlanError` for a glob of `kinds` that matches nothing, and where nothing
    is left.
    """
    planned = unit_kinds(matrices)
    check_globs(kinds, {*planned, *planned.values()}, "kind")
    left = [
        matrix
        for matrix in matrices
        if (not kinds or matches(kinds, matrix.kind, planned[matrix.kind]))
        and not matches(exclude, matrix.kind, planned[matrix.kind], matrix.name)
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
