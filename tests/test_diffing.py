"""Diffs of two scans: against numbers made by hand, against scipy, and their symmetries."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from making import write_llama
from scans import matrix, one_kind, scan_of
from spectrum_ft.diffing.at_hand import spectra_in
from spectrum_ft.diffing.changes import change, distance, median, rank_correlation
from spectrum_ft.diffing.diffing import diff
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.published import parse_published
from spectrum_ft.record_files import parse_record, to_json, to_record
from spectrum_ft.records.diffs import DIFF_SCHEMA, DiffError, MatrixDiff, ScanDiff
from spectrum_ft.records.scans import ScannedMatrix, ScanReport, SkippedTensor, SpectrumSummary
from spectrum_ft.scanning.scans import scan
from spectrum_ft.spectra.store import SpectraStore
from stacks import report_of, stack

UP = "model.layers.{}.mlp.up_proj.weight"


def with_digests(matrices: Sequence[ScannedMatrix], salt: str = "") -> list[ScannedMatrix]:
    """The matrices with the content that name, score and `salt` stand for."""
    return [replace(m, digest=f"{m.name} {m.scores} {salt}") for m in matrices]


def up_scan(*scores: float | None, salt: str = "") -> ScanReport:
    """A scan of one up_proj a layer with these scores; None is saturated."""
    matrices = [
        replace(m, flags=("saturated",)) if m.scores["snr"] is None else m for m in one_kind(scores)
    ]
    return scan_of(with_digests(matrices, salt))


def by_name(found: ScanDiff) -> dict[str, MatrixDiff]:
    return {matrix.name: matrix for matrix in found.matrices}


def test_a_diff_says_what_was_counted_by_hand() -> None:
    found = diff(up_scan(1, 2, 3, 4, 5, 6, 7, 8), up_scan(1, 2, 3, 4, 5, 8, 7, 6))
    assert (found.matched, found.identical, found.changed, found.unknown) == (8, 6, 2, 0)
    assert found.same_fingerprint is True
    (kind,) = found.kinds
    assert (kind.kind, kind.matrices, kind.changed, kind.units) == ("mlp.up_proj", 8, 2, 8)
    # Ranks 6 and 8 changed places: 1 - 6 (2^2 + 2^2) / (8 (8^2 - 1)).
    assert kind.correlation == pytest.approx(1 - 48 / 504, rel=1e-15)
    # A quarter of 8: layers 7 and 6 before, 5 and 6 after.
    assert kind.overlap is not None
    assert (kind.overlap.taken_a, kind.overlap.taken_b, kind.overlap.shared) == (2, 2, 1)
    assert kind.overlap.jaccard == pytest.approx(1 / 3, rel=1e-15)
    assert found.overlap == kind.overlap
    assert (kind.median_a, kind.median_b, kind.median_change) == (4.5, 4.5, 0.0)
    assert [m.name for m in found.matrices] == [UP.format(5), UP.format(7)]
    rising, falling = found.matrices
    assert (rising.score_a, rising.score_b, rising.score_change) == (6, 8, 0.25)
    assert (falling.score_a, falling.score_b, falling.score_change) == (8, 6, -0.25)
    assert (rising.rank_a, rising.rank_b, falling.rank_a, falling.rank_b) == (3, 1, 1, 3)
    assert (rising.selected_a, rising.selected_b) == (False, True)
    assert (falling.selected_a, falling.selected_b) == (True, False)
    assert {m.content for m in found.matrices} == {"changed"}


def test_a_scan_does_not_differ_from_itself() -> None:
    report = up_scan(0.3, 0.1, None, 0.4, 0.1, 0.6)
    found = diff(report, report)
    assert (found.identical, found.changed, found.matrices) == (6, 0, ())
    assert found.kinds[0].correlation == 1.0
    assert found.overlap is not None
    assert found.overlap.jaccard == 1.0
    assert not found.a.unmatched
    assert not found.b.unmatched


def test_the_order_of_a_file_does_not_matter() -> None:
    a = scan_of(with_digests(one_kind([0.5] * 7) + one_kind([3, 1, 2, 2, 5], "mlp.down_proj")))
    shuffled = list(a.matrices)
    random.Random(4).shuffle(shuffled)
    b = replace(a, matrices=tuple(shuffled))
    found = diff(a, b)
    assert found.matrices == ()
    assert found.overlap is not None
    assert found.overlap.jaccard == 1.0
    assert diff(b, a).kinds == found.kinds


def mirrored(found: ScanDiff) -> ScanDiff:
    """The diff the other way round, for scans that name and rank the same matrices."""
    kinds = tuple(
        replace(
            kind,
            median_a=kind.median_b,
            median_b=kind.median_a,
            median_change=None if kind.median_change is None else -kind.median_change,
            overlap=kind.overlap
            and replace(kind.overlap, taken_a=kind.overlap.taken_b, taken_b=kind.overlap.taken_a),
        )
        for kind in found.kinds
    )
    return replace(found, a=found.b, b=found.a, kinds=kinds, matrices=())


scores = st.lists(
    st.none() | st.floats(0.0, 1e300) | st.integers(0, 3).map(float), min_size=5, max_size=9
)


@settings(max_examples=60, deadline=None)
@given(scores.flatmap(lambda one: st.tuples(st.just(one), st.permutations(one))))
def test_swapping_the_sides_swaps_the_numbers(pair: tuple[list[float], list[float]]) -> None:
    a, b = up_scan(*pair[0]), up_scan(*pair[1])
    there, back = diff(a, b), diff(b, a)
    assert replace(back, matrices=(), command="") == replace(mirrored(there), command="")
    moved = {m.name: m.score_change for m in there.matrices}
    returned = {m.name: m.score_change for m in back.matrices}
    assert returned == {n: None if c is None else -c for n, c in moved.items()}
    assert there.identical + there.changed == there.matched == len(pair[0])


awkward = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(awkward, awkward), min_size=4, max_size=8))
def test_whatever_the_scores_are_the_record_is_finite_and_reads_back(
    pairs: list[tuple[float, float]],
) -> None:
    summaries = [[summary_of(abs(value)) for value in pair] for pair in pairs]
    sides = []
    for place in (0, 1):
        report = up_scan(*(pair[place] for pair in pairs))
        filled = [
            replace(m, spectrum=summary[place])
            for m, summary in zip(report.matrices, summaries, strict=True)
        ]
        sides.append(replace(report, matrices=tuple(filled)))
    found = diff(sides[0], sides[1])
    text = to_json(found)  # refuses what is not finite
    assert to_record(parse_record(text.encode(), "x"), ScanDiff, DIFF_SCHEMA, "x") == found
    assert all(abs(m.score_change or 0.0) <= 2.0 for m in found.matrices)


def summary_of(scale: float) -> SpectrumSummary:
    """A spectrum whose numbers are parts of `scale`."""
    return SpectrumSummary(
        max=scale,
        min=scale / 8,
        q25=scale / 4,
        median=scale / 2,
        q75=scale / 1.5,
        sum=scale,
        count=64,
        error=0.0,
        histogram=(),
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-3, 3).map(float) | st.just(math.inf), awkward),
        min_size=3,
        max_size=30,
    )
)
def test_the_rank_correlation_is_scipys(pairs: list[tuple[float, float]]) -> None:
    a, b = zip(*pairs, strict=True)
    found = rank_correlation(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert found is None
        return
    ranks = [stats.rankdata(side) for side in (a, b)]
    assert found == pytest.approx(stats.pearsonr(*ranks).statistic, abs=1e-12)
    assert rank_correlation(a, a) == 1.0
    assert found is not None
    assert -1.0 <= found <= 1.0


def test_changes_are_relative_to_the_larger_and_cannot_overflow() -> None:
    assert change(1.0, 2.0) == 0.5
    assert change(2.0, 1.0) == -0.5
    assert change(0.0, 0.0) == 0.0
    assert change(0.0, 5e-324) == 1.0
    assert change(-1.7e308, 1.7e308) == 2.0
    assert median([1.7e308, 1.7e308]) == 1.7e308
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([]) is None


def test_unbounded_scores_rank_above_finite_ones() -> None:
    found = diff(up_scan(1, 2, 3, 4), up_scan(None, 2, 3, 4))
    grown, overtaken = found.matrices
    assert (grown.rank_a, grown.rank_b) == (4, 1)
    assert (grown.score_change, grown.no_change) == (None, "unbounded in B")
    assert (overtaken.content, overtaken.rank_a, overtaken.rank_b) == ("same", 1, 2)
    assert (found.kinds[0].median_a, found.kinds[0].median_b) == (2.5, 3.0)
    both = diff(up_scan(None, 2, 3, 4), up_scan(None, 2, 3, 4, salt="other"))
    reasons = {m.name: m.no_change for m in both.matrices}
    assert reasons == {
        UP.format(0): "unbounded in both",
        **{UP.format(layer): None for layer in (1, 2, 3)},
    }


def test_what_became_unbounded_is_listed_before_what_changed_less() -> None:
    found = diff(up_scan(1, 2, 3, 4), up_scan(1.5, 2.5, 3, None))
    assert [m.name for m in found.matrices] == [UP.format(3), UP.format(0), UP.format(1)]


def test_equal_scores_have_no_correlation_and_small_kinds_no_selection() -> None:
    found = diff(up_scan(1, 1, 1), up_scan(1, 2, 3))
    (kind,) = found.kinds
    assert (kind.correlation, kind.no_correlation) == (None, "all scores of a side are equal")
    assert kind.overlap is None
    assert kind.no_overlap is not None
    assert "fewer than 4" in kind.no_overlap
    assert found.overlap is None
    assert [(m.rank_a, m.rank_b) for m in found.matrices] == [(3, 1), (2, 2)]
    two = diff(up_scan(1, 2), up_scan(1, 2))
    assert two.kinds[0].no_correlation == "fewer than 3 are ranked on both sides"


def test_only_what_both_scored_is_compared_and_the_rest_has_reasons() -> None:
    a = up_scan(1, 2, 3, 4, 5, 6)
    b = scan_of(with_digests(one_kind([1, 2, 3, 4]) + one_kind([1, 2], "mlp.down_proj")))
    b = replace(
        b,
        matrices=b.matrices[1:],
        skipped=(SkippedTensor(name=UP.format(0), shape=(64, 64), reason="all weights are zero"),),
    )
    found = diff(a, b)
    assert (found.a.matrices, found.b.matrices, found.matched) == (6, 5, 3)
    assert [(one.name, one.reason) for one in found.a.unmatched] == [
        (UP.format(0), "all weights are zero"),
        (UP.format(4), "not there"),
        (UP.format(5), "not there"),
    ]
    assert {one.reason for one in found.b.unmatched} == {"not there"}
    assert found.kinds[0].units == 3
    assert found.kinds[0].correlation == 1.0


def test_the_selections_are_those_of_plans(tmp_path: Path) -> None:
    reports = []
    for seed in (0, 1):
        write_llama(tmp_path / str(seed), layers=8, seed=seed)
        reports.append(scan(str(tmp_path / str(seed)), store=SpectraStore(None)))
    found = diff(*reports, score="snr_mp", share=0.4)
    assert found.changed == found.matched == 56
    for report, side in zip(reports, "ab", strict=True):
        planned = make_plan(report, PlanRequest(share=0.4, score="snr_mp"))
        selected = {m.name for m in found.matrices if getattr(m, f"selected_{side}")}
        assert selected == set(planned.plan.train)


def experts(*, scale: float = 1.0, count: int = 2, layers: int = 4) -> list[ScannedMatrix]:
    """The experts of a Mixtral: two matrices that are planned as one, and a third."""
    names = "model.layers.{}.block_sparse_moe.experts.{}.{}.weight"
    return with_digests(
        [
            matrix(names.format(layer, expert, part), scale * (layer + 0.1 * expert + 1))
            for layer in range(layers)
            for expert in range(count)
            for part in ("w1", "w2", "w3")
        ]
    )


def test_the_experts_of_a_block_are_one_unit() -> None:
    a, b = scan_of(experts()), scan_of(experts(scale=2.0))
    found = diff(a, b)
    kinds = {kind.kind.rpartition(".")[2]: kind for kind in found.kinds}
    assert set(kinds) == {"w1+w3", "w2"}
    assert (kinds["w1+w3"].matrices, kinds["w1+w3"].units) == (16, 4)
    assert (kinds["w2"].matrices, kinds["w2"].units) == (8, 4)
    assert {kind.correlation for kind in found.kinds} == {1.0}
    assert {m.rank_a for m in found.matrices if m.layer == 3} == {1}
    assert {m.score_change for m in found.matrices} == {0.5}
    assert {m.kind.rpartition(".")[2] for m in found.matrices} == {"w1", "w2", "w3"}
    lost = replace(b, matrices=b.matrices[1:])
    assert diff(a, lost).a.unmatched[0].expert == 0


def test_slices_of_one_tensor_are_told_apart() -> None:
    def stacked(scale: float) -> ScanReport:
        names = [f"model.layers.{layer}.mlp.experts.up_proj" for layer in range(4)]
        slices = [
            part
            for layer, name in enumerate(names, start=1)
            for part in stack(name, [layer, layer * scale, layer])
        ]
        report = report_of(slices)
        return replace(
            report,
            matrices=tuple(
                replace(m, digest=f"{m.name} {m.expert} {m.scores}") for m in report.matrices
            ),
        )

    found = diff(stacked(1.0), stacked(4.0))
    assert (found.matched, found.identical, found.changed) == (12, 8, 4)
    assert (found.kinds[0].units, found.kinds[0].correlation) == (4, 1.0)
    assert {(m.expert, m.score_change) for m in found.matrices} == {(1, 0.75)}
    assert [m.layer for m in found.matrices] == [0, 1, 2, 3]


def test_imports_are_compared_by_their_scores() -> None:
    table = ", ".join(
        f'"model.layers.{i}.mlp.up_proj": {{"snr": {value}, "type": "mlp.up_proj"}}'
        for i, value in enumerate((1.0, 2.0, 5.0, "Infinity"))
    )
    imported = parse_published(f"{{{table}}}".encode(), "published.json")
    found = diff(imported, up_scan(1, 2, 3, 4))
    assert (found.unknown, found.identical, found.changed) == (4, 0, 0)
    assert found.same_fingerprint is None
    assert found.a.environment is None
    assert [m.name for m in found.matrices] == [UP.format(3), UP.format(2)]
    assert {m.content for m in found.matrices} == {"unknown"}
    assert {m.spectrum for m in found.matrices} == {None}
    assert found.kinds[0].correlation == 1.0
    with pytest.raises(PlanError, match=r"^A \(published.json\): .* has no snr_mp in this scan"):
        diff(imported, imported, score="snr_mp")


def test_a_missing_score_names_the_model_that_lacks_it() -> None:
    full = scan_of([replace(m, scores={**m.scores, "alpha": 2.0}) for m in one_kind([1, 2, 3, 4])])
    bare = replace(up_scan(1, 2, 3, 4), model=replace(full.model, source="bare\x1b[2J"))
    with pytest.raises(PlanError, match=r"^B \(bare\\x1b\[2J\): .* has no alpha") as caught:
        diff(full, bare, score="alpha")
    assert "--score alpha" in str(caught.value.hint)


def test_scans_without_a_matrix_in_common_are_refused() -> None:
    other = scan_of(with_digests(one_kind([1, 2, 3, 4], "mlp.down_proj")))
    with pytest.raises(DiffError, match="no matrix is scored in both") as caught:
        diff(up_scan(1, 2, 3, 4), other)
    assert caught.value.hint
    with pytest.raises(DiffError, match="no matrix is scored in both"):
        diff(up_scan(1, 2, 3, 4), replace(other, matrices=()))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, math.nan, math.inf])
def test_a_share_that_cannot_be_taken_is_refused(share: float) -> None:
    with pytest.raises(DiffError, match="a share of"):
        diff(up_scan(1, 2), up_scan(1, 2), share=share)


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(DiffError, match="unknown score 'srn'"):
        diff(up_scan(1, 2), up_scan(1, 2), score="srn")


def test_kinds_choose_what_is_looked_at_and_not_what_is_selected() -> None:
    a = scan_of(with_digests(one_kind([1, 2, 3, 4]) + one_kind([1, 2, 3, 4], "mlp.down_proj")))
    found = diff(a, a, kinds=["*.up_*"])
    assert [kind.kind for kind in found.kinds] == ["mlp.up_proj"]
    assert found.matched == found.a.matrices == 4
    with pytest.raises(PlanError, match=r"^A \(made\): no kind matches 'mlp.up_prj'") as caught:
        diff(a, a, kinds=["mlp.up_prj"])
    assert caught.value.hint == "did you mean mlp.up_proj?"
    half = diff(scan_of(experts()), scan_of(experts(scale=2.0)), kinds=["*.w1"])
    assert (half.matched, half.kinds[0].units) == (8, 4)
    assert half.kinds[0].kind.endswith("w1+w3")


def test_matrices_that_no_plan_chooses_are_compared_and_not_ranked() -> None:
    thin = [replace(m, flags=("thin",)) for m in one_kind([1, 2, 3, 4], "mlp.router")]
    a = scan_of(with_digests(one_kind([1, 2, 3, 4]) + thin))
    b = scan_of(with_digests(one_kind([1, 2, 3, 4]) + thin, "other"))
    found = diff(a, b)
    router = next(kind for kind in found.kinds if kind.kind == "mlp.router")
    assert (router.changed, router.units) == (4, 0)
    assert router.no_correlation == "none of it is ranked on both sides"
    assert router.no_overlap == "none of it is ranked"
    assert by_name(found)["model.layers.0.mlp.router.weight"].rank_a is None
    # Their scores for `snr_mp` are missing, which is no fault of thin matrices.
    thin_too = scan_of(
        [replace(m, scores={"snr_mp": None if m.flags else 1.0}) for m in a.matrices]
    )
    assert diff(thin_too, thin_too, score="snr_mp").matched == 8


def test_other_shapes_and_types_are_counted() -> None:
    a = up_scan(1, 2, 3, 4)
    b = replace(
        up_scan(1, 2, 3, 4, salt="other"),
        matrices=tuple(
            replace(m, shape=(32, 64), dtype="NF4") for m in up_scan(1, 2, 3, 4, salt="b").matrices
        ),
    )
    found = diff(a, b)
    assert (found.reshaped, found.retyped, found.changed) == (4, 4, 4)
    assert all(m.reshaped and m.retyped for m in found.matrices)


def test_how_a_spectrum_changed_is_told_from_its_summary() -> None:
    a, b = up_scan(1, 2, 3, 4), up_scan(1, 2, 3, 4, salt="other")
    a = replace(a, matrices=tuple(replace(m, spectrum=summary_of(8.0)) for m in a.matrices))
    larger = replace(summary_of(8.0), max=16.0, q75=6.0)
    b = replace(b, matrices=tuple(replace(m, spectrum=larger) for m in b.matrices))
    spectrum = diff(a, b).matrices[0].spectrum
    assert spectrum is not None
    assert (spectrum.max, spectrum.q25, spectrum.median, spectrum.sum) == (0.5, 0.0, 0.0, 0.0)
    assert spectrum.largest == 0.5


def test_whole_spectra_tell_how_far_the_weights_moved_at_least(tmp_path: Path) -> None:
    stored = write_llama(tmp_path / "base", layers=4)
    chance = np.random.default_rng(5)
    tuned = stored[UP.format(2)] + 0.01 * chance.standard_normal((160, 64)).astype(np.float32)
    write_llama(tmp_path / "tuned", layers=4, overrides={UP.format(2): tuned})
    with SpectraStore(tmp_path / "store") as store:
        reports = [scan(str(tmp_path / name), store=store) for name in ("base", "tuned")]
        found = diff(*reports, spectrum_of=spectra_in(store))
    (moved,) = found.matrices
    assert moved.name == UP.format(2)
    one, other = (
        np.linalg.svd(weights.astype(np.float64), compute_uv=False)
        for weights in (stored[moved.name], tuned)
    )
    norm = max(np.linalg.norm(one), np.linalg.norm(other))
    assert moved.distance == pytest.approx(np.linalg.norm(one - other) / norm, rel=1e-4)
    weights_moved = np.linalg.norm((tuned - stored[moved.name]).astype(np.float64))
    assert moved.distance is not None
    assert 0.0 < moved.distance < weights_moved / norm
    assert diff(*reports).matrices[0].distance is None


def test_spectra_of_other_sizes_have_no_distance() -> None:
    assert distance(np.ones(3), np.ones(4)) is None
    assert distance(None, np.ones(4)) is None
    assert distance(np.zeros(3), np.zeros(3)) is None
    assert distance(np.array([3.0, 4.0]), np.array([3.0, 0.0])) == pytest.approx(0.8, rel=1e-15)
    assert distance(np.full(2, 1e300), np.full(2, 1e300)) == 0.0


def test_a_matrix_that_stays_may_enter_the_selection() -> None:
    found = diff(up_scan(1, 2, 3, 4), up_scan(1, 2, 3, 0.5))
    entered = by_name(found)[UP.format(2)]
    assert (entered.content, entered.score_change) == ("same", 0.0)
    assert (entered.selected_a, entered.selected_b) == (False, True)
    assert found.matrices[0].name == UP.format(3)
