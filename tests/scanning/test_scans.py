"""Scans of small real checkpoints: results, resume, and what cannot be scored."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from making import write_llama
from oracles import published_snr, singular_values
from spectrum_ft.checkpoints.checkpoint import open_checkpoint
from spectrum_ft.errors import CheckpointError, ComputeError, OutputError, PlanError
from spectrum_ft.record_files import to_json
from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft.scanning.compute import Compute, open_engine
from spectrum_ft.scanning.jobs import prepare_scan
from spectrum_ft.scanning.scans import iter_scan, scan
from spectrum_ft.spectra.solvers import CPU_BACKEND
from spectrum_ft.spectra.store import SpectraStore

Q0 = "model.layers.0.self_attn.q_proj.weight"
UP2 = "model.layers.2.mlp.up_proj.weight"


def fresh_scan(folder: Path, **options: object) -> ScanReport:
    return scan(str(folder), store=SpectraStore(None), **options)  # type: ignore[arg-type]  # passed on as they are


def by_name(report: ScanReport) -> dict[str, ScannedMatrix]:
    return {matrix.name: matrix for matrix in report.matrices}


def without_time(report: ScanReport) -> str:
    return to_json(replace(report, seconds=0.0))


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
def test_every_matrix_agrees_with_the_svd_in_every_dtype(tmp_path: Path, dtype: str) -> None:
    stored = write_llama(tmp_path, layers=4, dtype=dtype)  # type: ignore[arg-type]  # one of its literals
    report = fresh_scan(tmp_path)
    assert len(report.matrices) == 28
    for matrix in report.matrices:
        truth = published_snr(singular_values(stored[matrix.name]), matrix.shape)
        assert matrix.scores["snr"] == pytest.approx(truth, rel=1e-4)
    words = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
    assert {matrix.dtype for matrix in report.matrices} == {words[dtype]}


def test_a_report_names_everything_and_says_why_it_scores_some(tmp_path: Path) -> None:
    stored = write_llama(tmp_path, layers=4)
    report = fresh_scan(tmp_path)
    assert set(report.shapes) == set(stored)
    assert report.shapes == {name: value.shape for name, value in stored.items()}
    reasons = {tensor.name: tensor.reason for tensor in report.skipped}
    assert reasons["model.norm.weight"] == "vector"
    assert reasons["lm_head.weight"] == "outside the blocks (head)"
    assert reasons["model.embed_tokens.weight"] == "outside the blocks (embedding)"
    assert report.model.parameters == sum(value.size for value in stored.values())
    assert report.model.layers == 4
    summary = by_name(report)[Q0].spectrum
    assert summary is not None
    values = singular_values(stored[Q0])
    assert summary.count == 64
    assert sum(summary.histogram) == 64
    assert summary.max == pytest.approx(values[0], rel=1e-6)
    assert summary.median == pytest.approx(np.median(values), rel=1e-5)
    assert summary.sum == pytest.approx(values.sum(), rel=1e-5)


def test_the_order_of_a_report_is_natural_and_the_number_of_workers_does_not_matter(
    tmp_path: Path,
) -> None:
    write_llama(tmp_path, layers=12, shards=3)
    reports = [fresh_scan(tmp_path, compute=Compute(workers=workers)) for workers in (1, 2, 4)]
    texts = {without_time(report) for report in reports}
    assert len(texts) == 1
    layers = [m.layer for m in reports[0].matrices if m.kind == "mlp.up_proj"]
    assert layers == list(range(12))


def test_a_matrix_and_its_transpose_score_the_same(tmp_path: Path) -> None:
    stored = write_llama(tmp_path / "plain", layers=4)
    turned = {name: value.T for name, value in stored.items() if value.ndim == 2}
    write_llama(tmp_path / "turned", layers=4, overrides=turned)
    plain, other = by_name(fresh_scan(tmp_path / "plain")), by_name(fresh_scan(tmp_path / "turned"))
    for name, matrix in plain.items():
        assert other[name].shape == matrix.shape[::-1]
        assert other[name].flags == matrix.flags
        for score, value in matrix.scores.items():
            # `condition` hangs on the least certain value, and is only known to within 1 %.
            tolerance = 1e-2 if score == "condition" else 1e-5
            expected = value if value is None else pytest.approx(value, rel=tolerance)
            assert other[name].scores[score] == expected


def test_known_spectra_are_used_and_nothing_is_computed_twice(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=4)
    job = prepare_scan(open_checkpoint(str(tmp_path / "model")))
    with SpectraStore(tmp_path / "store") as store:
        first = list(iter_scan(job, store))
        second = list(iter_scan(job, store))
    assert not any(item.reused for item in first)
    assert all(item.reused for item in second)
    assert sorted(map(str, (i.result for i in first))) == sorted(
        map(str, (i.result for i in second))
    )


def test_a_renamed_and_partly_changed_model_computes_only_what_changed(tmp_path: Path) -> None:
    stored = write_llama(tmp_path / "base", layers=4)
    write_llama(tmp_path / "tuned", layers=4, shards=2, overrides={UP2: stored[UP2] * 1.5})
    with SpectraStore(tmp_path / "store") as store:
        list(iter_scan(prepare_scan(open_checkpoint(str(tmp_path / "base"))), store))
        job = prepare_scan(open_checkpoint(str(tmp_path / "tuned")))
        computed = [item.result.name for item in iter_scan(job, store) if not item.reused]
    assert computed == [UP2]


def test_a_scan_that_is_abandoned_keeps_what_it_finished(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=12, hidden=256)
    job = prepare_scan(open_checkpoint(str(tmp_path / "model")))
    with SpectraStore(tmp_path / "store") as store:
        scanning = iter_scan(job, store, open_engine(Compute(workers=2)))
        for _ in range(5):
            next(scanning)
        scanning.close()  # type: ignore[attr-defined]  # it is a generator
        # A matrix may have more than one spectrum there, if the first was not accurate enough.
        reused = sum(item.reused for item in iter_scan(job, store))
    assert 5 <= reused < len(job.targets)


def test_a_damaged_row_is_computed_again(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=4)
    place = tmp_path / "store"
    with SpectraStore(place) as store:
        first = scan(str(tmp_path / "model"), store=store)
    with sqlite3.connect(place) as database:
        database.execute(
            "update spectra set singular_values = zeroblob(length(singular_values))"
            " where rowid = (select min(rowid) from spectra)"
        )
    database.close()
    job = prepare_scan(open_checkpoint(str(tmp_path / "model")))
    with SpectraStore(place) as store:
        again = list(iter_scan(job, store))
    assert sum(not item.reused for item in again) == 1
    scores = {i.result.name: i.result.scores for i in again if isinstance(i.result, ScannedMatrix)}
    assert scores == {matrix.name: matrix.scores for matrix in first.matrices}


def test_a_store_that_is_no_database_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(OutputError, match="cannot be used") as caught:
        SpectraStore(tmp_path / "store")
    assert "--no-cache" in str(caught.value.hint)


def test_old_spectra_can_be_dropped(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=4)
    with SpectraStore(tmp_path / "store") as store:
        list(iter_scan(prepare_scan(open_checkpoint(str(tmp_path / "model"))), store))
        assert store.prune(older_than_days=1.0) == 0
        assert store.prune(older_than_days=0.0) >= 28
        assert len(store) == 0


def ruined(kind: str) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    chance = np.random.default_rng(9)
    matrix = chance.standard_normal((160, 64)).astype(np.float32)
    if kind == "nan":
        matrix[3, 4] = np.nan
    elif kind == "inf":
        matrix[159, 63] = np.inf
    elif kind == "zero":
        matrix[:] = 0.0
    elif kind == "orthogonal":
        matrix = np.linalg.qr(matrix)[0].astype(np.float32)
    elif kind == "rank 10":
        matrix = (matrix[:, :10] @ chance.standard_normal((10, 64))).astype(np.float32)
    return matrix


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nan", "holds NaN or infinite weights"),
        ("inf", "holds NaN or infinite weights"),
        ("zero", "all weights are zero"),
        ("orthogonal", "all singular values are equal: no noise to measure"),
        ("rank 10", "numerical rank 10 of 64: no noise to measure"),
    ],
)
def test_a_matrix_without_a_meaningful_score_is_skipped_with_the_reason(
    tmp_path: Path, kind: str, reason: str
) -> None:
    write_llama(tmp_path, layers=4, overrides={UP2: ruined(kind)})
    report = fresh_scan(tmp_path)
    assert len(report.matrices) == 27
    (skipped,) = (tensor for tensor in report.skipped if tensor.name == UP2)
    assert skipped.reason == reason
    assert "NaN" not in to_json(report).replace(reason, "")


def test_thin_matrices_keep_snr_and_are_flagged(tmp_path: Path) -> None:
    chance = np.random.default_rng(10)
    router = chance.standard_normal((8, 64)).astype(np.float32)
    constant = np.full((160, 64), 0.5, dtype=np.float32)
    rank_one = np.outer(chance.standard_normal(160), chance.standard_normal(64))
    names = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in range(3)]
    ruin = dict(zip(names, [router, constant, rank_one.astype(np.float32)], strict=True))
    write_llama(tmp_path, layers=4, overrides=ruin)
    found = by_name(fresh_scan(tmp_path))
    assert found[names[0]].scores["snr"] == pytest.approx(
        published_snr(singular_values(router), router.shape), rel=1e-4
    )
    for name in names:
        assert "thin" in found[name].flags
        assert found[name].scores["snr_mp"] is None
    for name in names[1:]:
        # No noise at all beside one direction: unbounded, which is null and said so.
        assert found[name].scores["snr"] is None
        assert "saturated" in found[name].flags


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_very_small_and_very_large_weights_score_as_the_formula_says(
    tmp_path: Path, scale: float
) -> None:
    stored = write_llama(tmp_path / "plain", layers=4)
    scaled = {name: v * np.float32(scale) for name, v in stored.items() if v.ndim == 2}
    write_llama(tmp_path / "scaled", layers=4, overrides=scaled)
    plain, other = by_name(fresh_scan(tmp_path / "plain")), by_name(fresh_scan(tmp_path / "scaled"))
    for name, matrix in plain.items():
        assert matrix.scores["snr"] is not None
        assert other[name].scores["snr"] == pytest.approx(matrix.scores["snr"] / scale, rel=1e-4)
        assert other[name].scores["snr_mp"] == pytest.approx(matrix.scores["snr_mp"], rel=1e-4)


def test_condition_is_null_where_it_is_not_certain_and_exact_where_it_ranks(tmp_path: Path) -> None:
    chance = np.random.default_rng(11)
    left = np.linalg.qr(chance.standard_normal((160, 64)))[0]
    right = np.linalg.qr(chance.standard_normal((64, 64)))[0]
    values = np.concatenate([np.linspace(2.0, 1.0, 63), [1e-5]])
    matrix = ((left * values) @ right.T).astype(np.float32)
    write_llama(tmp_path, layers=4, overrides={UP2: matrix})
    cheap = by_name(fresh_scan(tmp_path))[UP2]
    assert cheap.scores["condition"] is None
    assert "unresolved" in cheap.flags
    careful = by_name(fresh_scan(tmp_path, score="condition"))[UP2]
    truth = singular_values(matrix)
    assert careful.scores["condition"] == pytest.approx(truth[0] / truth[-1], rel=1e-2)
    assert "escalated" in careful.flags


def test_a_value_on_the_edge_makes_the_solver_more_careful(tmp_path: Path) -> None:
    # One value is moved onto the published edge, closer than float32 can tell sides apart.
    chance = np.random.default_rng(12)
    base = np.linspace(1.0, 0.1, 64)
    edge = (np.quantile(base, 0.75) - np.quantile(base, 0.25)) / 1.349 * (1.0 + np.sqrt(64 / 160))
    nearest = int(np.argmin(np.abs(base - edge)))
    base[nearest] = edge * (1.0 + 2e-8)
    left = np.linalg.qr(chance.standard_normal((160, 64)))[0]
    right = np.linalg.qr(chance.standard_normal((64, 64)))[0]
    matrix = ((left * base) @ right.T).astype(np.float32)
    write_llama(tmp_path, layers=4, overrides={UP2: matrix})
    found = by_name(fresh_scan(tmp_path))[UP2]
    assert "escalated" in found.flags
    truth = published_snr(singular_values(matrix), (160, 64))
    assert found.scores["snr"] == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("dead", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("size", [64, 256])
def test_dead_columns_do_not_cost_accuracy(tmp_path: Path, dead: float, size: int) -> None:
    # Exact zeros come out of a float32 Gram matrix as small positive values that add up.
    matrix = np.random.default_rng(size).standard_normal((size, size)).astype(np.float32)
    matrix[:, : int(dead * size)] = 0.0
    write_llama(tmp_path, layers=1, overrides={Q0: matrix})
    found = by_name(fresh_scan(tmp_path))[Q0]
    truth = published_snr(singular_values(matrix), matrix.shape)
    assert found.scores["snr"] == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-200, 1e200, 1e307])
def test_weights_beyond_float32_are_skipped_and_do_not_end_the_scan(
    tmp_path: Path, scale: float
) -> None:
    matrix = np.random.default_rng(3).standard_normal((64, 64)) * scale
    write_llama(tmp_path, layers=1, dtype="F64", overrides={Q0: matrix})
    report = fresh_scan(tmp_path)
    assert len(report.matrices) == 6
    reasons = {tensor.name: tensor.reason for tensor in report.skipped}
    assert "out of the range of float32" in reasons[Q0]


def test_a_damaged_page_of_the_store_counts_as_absent(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=4)
    place = tmp_path / "store"
    job = prepare_scan(open_checkpoint(str(tmp_path / "model")))
    with SpectraStore(place) as store:
        list(iter_scan(job, store))
        digests = [matrix.digest for matrix in scan(str(tmp_path / "model"), store=store).matrices]
    content = bytearray(place.read_bytes())
    for page in range(4096 * 4, len(content) - 4096, 4096 * 5):
        content[page : page + 64] = b"\xff" * 64
    place.write_bytes(content)
    try:
        store = SpectraStore(place)
    except OutputError:
        return  # the damage was seen at once, and explained
    with store:
        found = [store.get(digest, "gram32", CPU_BACKEND) for digest in digests if digest]
    assert any(values is None for values in found)


def test_kinds_are_chosen_by_glob_even_outside_the_blocks(tmp_path: Path) -> None:
    write_llama(tmp_path, layers=4)
    assert {m.kind for m in fresh_scan(tmp_path, kinds=["mlp.*"]).matrices} == {
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    }
    (head,) = fresh_scan(tmp_path, kinds=["lm_head"]).matrices
    assert head.layer is None
    with pytest.raises(PlanError, match="no kind matches") as caught:
        fresh_scan(tmp_path, kinds=["mlp.up_prj"])
    assert caught.value.hint == "did you mean mlp.up_proj?"


def test_an_unknown_score_is_refused(tmp_path: Path) -> None:
    write_llama(tmp_path, layers=1)
    with pytest.raises(PlanError, match="unknown score 'snrr'"):
        fresh_scan(tmp_path, score="snrr")


def test_a_file_that_changes_under_the_scan_stops_it(tmp_path: Path) -> None:
    write_llama(tmp_path, layers=4)
    job = prepare_scan(open_checkpoint(str(tmp_path)))
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50_000])
    with pytest.raises(CheckpointError, match="changed since its header was read"):
        list(iter_scan(job, SpectraStore(None)))


def test_two_scans_at_once_do_not_change_each_others_bits(tmp_path: Path) -> None:
    write_llama(tmp_path / "one", layers=2, hidden=320)
    write_llama(tmp_path / "other", layers=1, hidden=320, seed=1)
    alone = {m.name: m for m in fresh_scan(tmp_path / "one").matrices}
    limits = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    jobs = [prepare_scan(open_checkpoint(str(tmp_path / name))) for name in ("other", "one")]
    other, one = (iter_scan(job, SpectraStore(None)) for job in jobs)
    found = [next(one)]
    found += [item for _, item in zip(list(other), one, strict=False)]  # the other one ends first
    found += list(one)
    assert {item.result.name for item in found} == set(alone)
    for item in found:
        assert item.result == alone[item.result.name]
    now = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert now == limits


def test_a_row_whose_type_is_damaged_is_computed_again(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=1)
    place = tmp_path / "store"
    with SpectraStore(place) as store:
        scan(str(tmp_path / "model"), store=store)
    with sqlite3.connect(place) as database:
        database.execute("update spectra set singular_values = 'text'")
    database.close()
    job = prepare_scan(open_checkpoint(str(tmp_path / "model")))
    with SpectraStore(place) as store:
        assert not any(item.reused for item in iter_scan(job, store))


def test_an_engine_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ComputeError, match="unknown engine 'spark'") as caught:
        open_engine(Compute(engine="spark"))
    assert caught.value.hint == "engines: local, ray"
