"""The diff of two scans: what they share, kind by kind, and what changed most."""

from collections import defaultdict
from collections.abc import Sequence

from spectrum_ft.diffing.kinds import diff_kind, total_overlap
from spectrum_ft.diffing.matrices import SpectrumOf, diff_matrices
from spectrum_ft.diffing.pairs import Pair
from spectrum_ft.diffing.ranking import Ranking, rank_side
from spectrum_ft.environment import command_line, current_environment, shown_path
from spectrum_ft.errors import few_names
from spectrum_ft.planning.requests import DEFAULT_SHARE
from spectrum_ft.records.diffs import DiffError, DiffSide, ScanDiff, Unmatched
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.spectra.scores import SCORES


def diff(
    a: ScanReport,
    b: ScanReport,
    *,
    score: str = "snr",
    share: float = DEFAULT_SHARE,
    kinds: Sequence[str] = (),
    given: tuple[str | None, str | None] = (None, None),
    spectrum_of: SpectrumOf | None = None,
) -> ScanDiff:
    """How `b` differs from `a`: matrices are matched by name, and ranked as plans rank them.

    `share` of each kind is selected on either side, in (0, 1]; `kinds` are globs; `given` is what
    a user named; `spectrum_of` hands over whole spectra, since the summaries in a scan are too few
    to tell a distance. Raises `DiffError` where no matrix is scored in both, for an unknown score
    and a share that is none; `PlanError` for a score that is missing and a glob without a match.
    """
    if score not in SCORES:
        raise DiffError(f"unknown score {score!a}", f"scores: {', '.join(SCORES)}")
    if not 0.0 < share <= 1.0:
        raise DiffError(
            f"a share of {share:.3g} cannot be taken", "give more than 0 %, at most 100 %"
        )
    one, other = (
        rank_side(side, report, score=score, share=share, kinds=kinds)
        for side, report in (("A", a), ("B", b))
    )
    pairs = [
        Pair(a=matrix, b=other.matrices[key])
        for key, matrix in one.matrices.items()
        if key in other.matrices
    ]
    if not pairs:
        raise _nothing_in_common(one, other)
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[one.planned_kinds[pair.a.kind]].append(pair)
    diffed = [diff_kind(kind, group, one, other, score) for kind, group in groups.items()]
    contents = [pair.content for pair in pairs]
    prints = (a.model.fingerprint, b.model.fingerprint)
    return ScanDiff(
        a=_side(one, other, given[0]),
        b=_side(other, one, given[1]),
        score=score,
        share=share,
        asked_kinds=tuple(kinds),
        same_fingerprint=None if None in prints else prints[0] == prints[1],
        matched=len(pairs),
        identical=contents.count("same"),
        changed=contents.count("changed"),
        unknown=contents.count("unknown"),
        reshaped=sum(pair.reshaped for pair in pairs),
        retyped=sum(pair.retyped for pair in pairs),
        overlap=total_overlap(diffed),
        kinds=tuple(diffed),
        matrices=tuple(diff_matrices(pairs, one, other, score=score, spectrum_of=spectrum_of)),
        environment=current_environment(device="cpu"),
        command=command_line(),
    )


def _side(ranking: Ranking, other: Ranking, given: str | None) -> DiffSide:
    report = ranking.report
    skipped = {(tensor.name, tensor.expert): tensor.reason for tensor in other.report.skipped}
    unmatched = [
        Unmatched(
            name=name,
            expert=expert,
            reason=skipped.get((name, expert), skipped.get((name, None), "not there")),
        )
        for name, expert in ranking.matrices
        if (name, expert) not in other.matrices
    ]
    return DiffSide(
        model=report.model,
        given=None if given is None else shown_path(given),
        environment=report.environment,
        matrices=len(ranking.matrices),
        unmatched=tuple(unmatched),
    )


def _nothing_in_common(a: Ranking, b: Ranking) -> DiffError:
    names = [few_names([name for name, _ in side.matrices][:1]) or "nothing" for side in (a, b)]
    return DiffError(
        f"no matrix is scored in both; A has {names[0]} for one, B {names[1]}",
        "compare scans of the same --kinds, of models that name their tensors alike",
    )
