"""What is said of a diff, as strings: terminal and Markdown take their figures from here."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spectrum_ft.records.diffs import DiffSide, KindDiff, MatrixDiff, Overlap, ScanDiff, Unmatched
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.titles import model_title, short_source
from spectrum_ft_reports.parts.untrusted import printable

LISTED = 20
"""How many matrices a report lists unless it is told otherwise."""

_NONE = "-"
_SELECTED = {
    (True, True): "stays",
    (True, False): "leaves",
    (False, True): "enters",
    (False, False): "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KindDiffRow:
    """One kind."""

    kind: str
    """The kind."""
    changed: str
    """How many of its matrices have other content, of how many."""
    correlation: str
    """The rank correlation of the score."""
    picks: str
    """How many are selected in both, of how many."""
    jaccard: str
    """The same, of all that are selected in either."""
    medians: str
    """The median score in A and in B."""
    shift: str
    """The change of the median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixDiffRow:
    """One matrix that differs."""

    kind: str
    """Its kind."""
    layer: str
    """Its block, and its expert if it is one: `3`, `3:17`."""
    scores: str
    """The score in A and in B."""
    change: str
    """The change of the score."""
    spectrum: str
    """The largest change of its singular values' summary."""
    distance: str
    """How far its singular values lie apart."""
    rank: str
    """Its place within its kind in A and in B."""
    selected: str
    """`stays` in the selection, `enters` or `leaves` it; empty where it is in neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffView:
    """A diff."""

    score: str
    """The score that ranks."""
    header: tuple[Fact, ...]
    """What A and B are, and what was compared, one line each."""
    kinds: tuple[KindDiffRow, ...]
    """The kinds."""
    heading: str
    """What is listed below them, or that nothing is."""
    matrices: tuple[MatrixDiffRow, ...]
    """The matrices that changed most."""
    has_distances: bool
    """Whether any of them has a distance, which tells more than a summary: it takes its place."""
    notes: tuple[Fact, ...]
    """How to read it."""
    command: str
    """The command that makes it again."""


def diff_view(diff: ScanDiff, *, limit: int = LISTED) -> DiffView:
    """The view of `diff`, with the `limit` matrices that changed most."""
    listed = diff.matrices[:limit]
    return DiffView(
        score=printable(diff.score, 40),
        header=tuple(_header(diff)),
        kinds=tuple(_kind_row(kind) for kind in diff.kinds),
        heading=_heading(len(listed), len(diff.matrices)),
        matrices=tuple(_matrix_row(matrix) for matrix in listed),
        has_distances=any(matrix.distance for matrix in listed),
        notes=tuple(_notes(diff, listed)),
        command=printable(diff.command, 2_000),
    )


def _title(side: DiffSide) -> str:
    given = ""
    if side.given is not None and short_source(side.given) != short_source(side.model.source):
        given = f"{printable(side.given, 60)}: "
    return given + model_title(side.model)


def diff_title(diff: ScanDiff) -> str:
    """What is compared, in one line: `SmolLM2-135M → merged`."""
    return " → ".join(_short(side) for side in (diff.a, diff.b))


def _short(side: DiffSide) -> str:
    named = side.model.source if side.given is None else side.given
    return printable(short_source(named), 60) or "unnamed"


def place_text(matrix: MatrixDiff) -> str:
    """Where a matrix lies: `mlp.up_proj, layer 5`, and its expert if it is one."""
    layer = "" if matrix.layer is None else f", layer {matrix.layer}"
    expert = "" if matrix.expert is None else f", expert {matrix.expert}"
    return printable(matrix.kind, 60) + layer + expert


def _header(diff: ScanDiff) -> list[Fact]:
    facts = [
        Fact("A", _title(diff.a)),
        Fact("B", _title(diff.b)),
        Fact("tensors", _tensors(diff.same_fingerprint)),
    ]
    kinds = ""
    if diff.asked_kinds:
        kinds = f" of the kinds {', '.join(printable(glob, 60) for glob in diff.asked_kinds)}"
    facts.append(Fact("compared", f"{_matrices(diff.matched)} by name{kinds}: {_contents(diff)}"))
    for letter, other, side in (("A", "B", diff.a), ("B", "A", diff.b)):
        if side.unmatched:
            facts.append(Fact(f"only in {letter}", _unmatched(side.unmatched, other)))
    if diff.retyped:
        facts.append(Fact("types", f"{_matrices(diff.retyped)} stored in another type"))
    if diff.reshaped:
        facts.append(Fact("shapes", f"{_matrices(diff.reshaped)} of another shape"))
    share = f"{100.0 * diff.share:g} % of each kind by {printable(diff.score, 40)}"
    facts.append(Fact("picks", f"{share}: {_overlap(diff.overlap)}"))
    computed = [_computed_by(side) for side in (diff.a, diff.b)]
    if computed[0] != computed[1]:
        facts.append(Fact("computed", f"A {computed[0]}; B {computed[1]}"))
    return facts


def _tensors(same: bool | None) -> str:
    if same is None:
        return "an imported result does not say which there are"
    return "same names and shapes in both" if same else "other names or shapes in A than in B"


def _contents(diff: ScanDiff) -> str:
    parts = [(diff.changed, "changed"), (diff.identical, "identical"), (diff.unknown, "unknown")]
    told = ", ".join(f"{number:,} {word}" for number, word in parts if number)
    return f"{told}, for an import has no digests" if diff.unknown else told


def _matrices(number: int) -> str:
    return numbers.plural(number, "matrix", "matrices")


def _unmatched(unmatched: Sequence[Unmatched], other: str) -> str:
    return f"{_matrices(len(unmatched))}; in {other}: {_counted(one.reason for one in unmatched)}"


def _counted(reasons: Iterable[str]) -> str:
    """Each reason and how often it holds, the most frequent first."""
    counts = Counter(reasons).most_common()
    listed = [f"{number:,} × {printable(reason)}" for reason, number in counts]
    more = f"; {len(listed) - 6} more reasons" if len(listed) > 6 else ""
    return "; ".join(listed[:6]) + more


def _overlap(overlap: Overlap | None) -> str:
    if overlap is None:
        return "nothing, since no kind is large enough"
    return (
        f"{overlap.taken_a:,} in A, {overlap.taken_b:,} in B, {overlap.shared:,} in both; "
        f"Jaccard {ratio_text(overlap.jaccard)}"
    )


def _computed_by(side: DiffSide) -> str:
    if side.environment is None:
        return "imported"
    version = f"spectrum-ft {side.environment.spectrum_ft}"
    return f"on {printable(side.environment.device, 60)}, {printable(version, 40)}"


def _kind_row(kind: KindDiff) -> KindDiffRow:
    picks, jaccard = _NONE, _NONE
    if kind.overlap is not None:
        taken_a, taken_b = kind.overlap.taken_a, kind.overlap.taken_b
        of = f"{taken_a}" if taken_a == taken_b else f"{taken_a}, {taken_b}"
        picks, jaccard = f"{kind.overlap.shared} of {of}", ratio_text(kind.overlap.jaccard)
    known = kind.unknown < kind.matrices
    return KindDiffRow(
        kind=printable(kind.kind, 60),
        changed=f"{kind.changed if known else '?'}/{kind.matrices}",
        correlation=_NONE if kind.correlation is None else ratio_text(kind.correlation),
        picks=picks,
        jaccard=jaccard,
        medians=_scores(kind.median_a, kind.median_b),
        shift=numbers.change(kind.median_change),
    )


def ratio_text(value: float) -> str:
    """A number up to 1 with three decimals; 1 itself without any, 0.9999 as `0.999+`."""
    if abs(value) == 1.0:
        return f"{value:.0f}"
    text = f"{value:.3f}"
    return text if text not in ("1.000", "-1.000") else f"{text.replace('1.000', '0.999')}+"


def _heading(listed: int, differing: int) -> str:
    if not differing:
        return "no matrix differs in content, score or selection"
    if not listed:
        differ = "1 matrix differs" if differing == 1 else f"{differing:,} matrices differ"
        return f"{differ}, none is listed"
    if listed < differing:
        return f"the {listed:,} of {differing:,} matrices that changed most"
    return "the matrices that differ, the largest change first"


def _matrix_row(matrix: MatrixDiff) -> MatrixDiffRow:
    ranks = (_NONE if rank is None else str(rank) for rank in (matrix.rank_a, matrix.rank_b))
    return MatrixDiffRow(
        kind=printable(matrix.kind, 60),
        layer=numbers.place(matrix.layer, matrix.expert),
        scores=_scores(matrix.score_a, matrix.score_b),
        change=numbers.change(matrix.score_change),
        spectrum=numbers.change(matrix.spectrum.largest if matrix.spectrum else None),
        distance=_NONE if matrix.distance is None else numbers.change(matrix.distance).lstrip("+"),
        rank=" → ".join(ranks),
        selected=_SELECTED[matrix.selected_a, matrix.selected_b],
    )


def _scores(a: float | None, b: float | None) -> str:
    return f"{numbers.score(a)} → {numbers.score(b)}"


def _notes(diff: ScanDiff, listed: Sequence[MatrixDiff]) -> list[Fact]:
    facts = []
    for label, reasons in (
        ("no corr.", [kind.no_correlation for kind in diff.kinds]),
        ("no picks", [kind.no_overlap for kind in diff.kinds]),
        ("no change", [matrix.no_change for matrix in listed]),
    ):
        if told := [reason for reason in reasons if reason is not None]:
            facts.append(Fact(label, _counted(told)))
    facts.append(Fact("corr.", "Spearman's rank correlation of the score within the kind"))
    facts.append(Fact("A → B", "shift and change are relative to the larger of both"))
    if any(matrix.distance for matrix in listed):
        moved = "the distance of all singular values; the weights moved that far or more"
        facts.append(Fact("moved", moved))
    elif any(matrix.spectrum for matrix in listed):
        facts.append(Fact("spectrum", "the largest change of its maximum, quartiles and sum"))
    return facts
