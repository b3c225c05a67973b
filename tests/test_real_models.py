"""Every matrix of three real models against a float64 singular value decomposition."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from conftest import packaged_or_skip
from oracles import marchenko_pastur_snr, published_snr, singular_values
from spectrum_ft.checkpoints.checkpoint import open_checkpoint, read_tensor
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft.scanning.scans import scan
from spectrum_ft.spectra.store import SpectraStore

TOLERANCE = 1e-4
"""Relative, on `snr` of every matrix; the same is asked of `snr_mp`."""


_TRUTHS: dict[tuple[str, tuple[int, ...]], tuple[float, float]] = {}
"""`snr` and `snr_mp` by content: two forms of a model share most of their matrices."""


def truth_of(matrix: NDArray[np.floating]) -> tuple[float, float]:
    """`snr` and `snr_mp` of a matrix by its singular value decomposition."""
    key = sha256(matrix.astype("<f8").tobytes()).hexdigest(), matrix.shape
    if key not in _TRUTHS:
        values = singular_values(matrix)
        _TRUTHS[key] = (
            published_snr(values, matrix.shape),
            marchenko_pastur_snr(values, matrix.shape),
        )
    return _TRUTHS[key]


def assert_agrees_with_svd(source: Path, num_matrices: int) -> ScanReport:
    report = scan(str(source), store=SpectraStore(None))
    entries = {entry.name: entry for entry in open_checkpoint(str(source)).entries}
    assert len(report.matrices) == num_matrices

    def truth(matrix: ScannedMatrix) -> tuple[float, float]:
        return truth_of(read_tensor(entries[matrix.name]))

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(2) as pool:
        for matrix, (snr, snr_mp) in zip(
            report.matrices, pool.map(truth, report.matrices), strict=True
        ):
            assert matrix.scores["snr"] == pytest.approx(snr, rel=TOLERANCE)
            assert matrix.scores["snr_mp"] == pytest.approx(snr_mp, rel=TOLERANCE, abs=1e-12)
    return report


@pytest.mark.slow
def test_smollm2_from_its_gguf_and_from_its_conversion(smollm2: Path, model_cache: Path) -> None:
    gguf = packaged_or_skip("smollm2-135m", model_cache)
    original = assert_agrees_with_svd(gguf, 210)
    converted = assert_agrees_with_svd(smollm2, 210)
    # The conversion turns rows of q_proj and k_proj around, which no singular value sees.
    ours = sorted(m.scores["snr"] or 0.0 for m in original.matrices)
    theirs = sorted(m.scores["snr"] or 0.0 for m in converted.matrices)
    assert ours == pytest.approx(theirs, rel=2e-5)
    assert original.model.parameters == converted.model.parameters == 134_515_008
    plan = make_plan(converted, PlanRequest(share=0.25)).plan
    assert plan.counts is not None
    assert plan.counts.train == 28_311_552


@pytest.mark.slow
def test_gemma_from_its_gguf(model_cache: Path) -> None:
    report = assert_agrees_with_svd(packaged_or_skip("gemma3-270m", model_cache), 126)
    assert report.model.layers == 18


@pytest.mark.slow
def test_a_bert_in_its_original_float32(model_cache: Path) -> None:
    report = assert_agrees_with_svd(packaged_or_skip("minilm-l6", model_cache), 36)
    assert {m.kind for m in report.matrices} == {
        "attention.output.dense",
        "attention.self.key",
        "attention.self.query",
        "attention.self.value",
        "intermediate.dense",
        "output.dense",
    }
