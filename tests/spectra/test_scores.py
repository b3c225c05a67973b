"""Every score: by hand, against an independent definition, and under its invariances."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

import oracles
from spectrum_ft.spectra.edges import marchenko_pastur_median, noise_edge, published_edge
from spectrum_ft.spectra.scores import (
    SCORES,
    edge_of_snr_mp,
    is_saturated,
    quartiles,
    snr,
    snr_mp,
)

# square to 1:8, smaller side at least 64
NOISE_SHAPES = [
    (64, 64), (96, 96), (192, 192), (64, 96), (96, 192),
    (64, 128), (192, 64), (64, 256), (384, 64), (64, 512),
]  # fmt: skip


def of(name: str, values: list[float], shape: tuple[int, int]) -> float | None:
    return SCORES[name].of(np.array(values), shape)


def test_every_score_by_hand_on_four_values() -> None:
    # S = 8, 4, 2, 1 of a square matrix: q25 = 1.75, median = 3, q75 = 5.
    values, shape = [8.0, 4.0, 2.0, 1.0], (4, 4)
    edge = (5.0 - 1.75) / 1.349 * 2.0  # 4.818
    assert published_edge(1.75, 5.0, shape) == pytest.approx(edge, rel=1e-15)
    assert of("snr", values, shape) == pytest.approx(8.0 / 7.0 / 8.0, rel=1e-15)
    # k = 2: ln(64 / 4) + ln(16 / 4) = 6 ln 2
    assert of("alpha", values, shape) == pytest.approx(1.0 + 2.0 / (6.0 * math.log(2)), rel=1e-15)
    assert of("stable_rank", values, shape) == pytest.approx(85.0 / 64.0, rel=1e-15)
    assert of("condition", values, shape) == 8.0
    # p = 8/15, 4/15, 2/15, 1/15
    entropy = -sum(p * math.log(p) for p in (8 / 15, 4 / 15, 2 / 15, 1 / 15))
    assert of("effective_rank", values, shape) == pytest.approx(math.exp(entropy), rel=1e-15)


def test_equal_values_have_full_rank_and_condition_one() -> None:
    values, shape = [2.0] * 6, (6, 9)
    assert of("stable_rank", values, shape) == pytest.approx(6.0, rel=1e-15)
    assert of("effective_rank", values, shape) == pytest.approx(6.0, rel=1e-14)
    assert of("condition", values, shape) == 1.0
    assert of("alpha", values, shape) is None  # a flat upper half has no tail to fit


def test_an_empty_noise_set_counts_as_one_and_is_called_saturated() -> None:
    # Close values: the interquartile range, and with it the edge, lies below all of them.
    values = np.array([10.0, 9.9, 9.8, 9.7])
    assert snr(values, (4, 16)) == pytest.approx(39.4 / 1.0 / 10.0, rel=1e-15)
    assert is_saturated(values, (4, 16))
    assert not is_saturated(np.array([8.0, 4.0, 2.0, 1.0]), (4, 4))


def test_noise_of_exactly_zero_leaves_snr_unbounded() -> None:
    values = np.array([5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert snr(values, (8, 8)) is None
    assert is_saturated(values, (8, 8))


@pytest.mark.parametrize("beta", [1.0, 0.9, 0.5, 0.25, 0.125, 1 / 3, 0.01])
def test_the_marchenko_pastur_median_agrees_with_quadrature_of_the_density(beta: float) -> None:
    assert marchenko_pastur_median(beta) == pytest.approx(
        oracles.marchenko_pastur_median(beta), abs=1e-8
    )


def test_the_marchenko_pastur_medians_of_the_literature() -> None:
    # Four decimals, as tabulated for square to 1:8 matrices.
    table = {1.0: 0.6528, 0.5: 0.8305, 0.25: 0.9160, 0.125: 0.9582}
    for beta, median in table.items():
        assert marchenko_pastur_median(beta) == pytest.approx(median, abs=5e-5)


@pytest.mark.parametrize("shape", [(64, 64), (48, 200), (200, 48), (17, 90)])
def test_snr_and_snr_mp_agree_with_independent_definitions(shape: tuple[int, int]) -> None:
    chance = np.random.default_rng(11)
    matrix = chance.standard_normal(shape)
    matrix[:, 0] *= 30.0
    values = oracles.singular_values(matrix)
    assert snr(values, shape) == pytest.approx(oracles.published_snr(values, shape), rel=1e-12)
    assert snr_mp(values, shape) == pytest.approx(
        oracles.marchenko_pastur_snr(values, shape), rel=1e-7
    )


@pytest.mark.parametrize("name", sorted(SCORES))
def test_a_scaled_matrix_scores_as_the_formulas_say(name: str) -> None:
    # snr alone depends on the weights' scale: it is divided by S[0], so c W scores 1 / c of W.
    values = oracles.singular_values(np.random.default_rng(12).standard_normal((60, 90)))
    plain, scaled = SCORES[name].of(values, (60, 90)), SCORES[name].of(1000.0 * values, (60, 90))
    assert plain is not None
    assert scaled is not None
    expected = plain / 1000.0 if name == "snr" else plain
    assert scaled == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", sorted(SCORES))
def test_a_score_does_not_care_which_side_is_longer(name: str) -> None:
    values = oracles.singular_values(np.random.default_rng(13).standard_normal((60, 90)))
    assert SCORES[name].of(values, (60, 90)) == SCORES[name].of(values, (90, 60))


def noise(shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def test_pure_noise_hardly_ever_shows_signal_by_snr_mp() -> None:
    # The edge is the 99 % quantile of the largest value; the sample median as noise scale adds
    # some spread of its own. At most 6 % of 200 fixed draws may hold any signal value.
    found = [
        bool((s > edge_of_snr_mp(s, shape)).any())
        for shape in NOISE_SHAPES
        for seed in range(20)
        for s in [oracles.singular_values(noise(shape, 1000 + seed))]
    ]
    assert len(found) == 200
    assert sum(found) <= 12


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_planted_signal_is_counted_exactly_in_95_percent_of_draws(rank: int) -> None:
    # Strength 3 sigma (m n)^(1/4), well above the detection threshold sigma (m n)^(1/4).
    exact = []
    for shape in NOISE_SHAPES:
        strength = 3.0 * math.prod(shape) ** 0.25
        for seed in range(20):
            chance = np.random.default_rng(2000 + seed)
            left = np.linalg.qr(chance.standard_normal((shape[0], rank)))[0]
            right = np.linalg.qr(chance.standard_normal((shape[1], rank)))[0]
            s = oracles.singular_values(noise(shape, 3000 + seed) + strength * left @ right.T)
            exact.append(int((s > edge_of_snr_mp(s, shape)).sum()) == rank)
    assert len(exact) == 200
    assert sum(exact) >= 190


def test_the_published_edge_calls_noise_signal_and_that_is_why_snr_mp_exists() -> None:
    # 24 % of a square and all of a 1:4 noise matrix; recorded, so that nobody "mends" snr.
    for shape, share in (((400, 400), 0.24), ((300, 1200), 1.0)):
        s = oracles.singular_values(noise(shape, 5))
        q25, q75 = np.quantile(s, (0.25, 0.75))
        above = float((s > published_edge(q25, q75, shape)).mean())
        assert above == pytest.approx(share, abs=0.02)


def test_the_noise_edge_of_a_single_value_is_finite() -> None:
    assert math.isfinite(noise_edge(1.0, (1, 1)))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 64, 577])
def test_quartiles_are_those_of_numpy(count: int) -> None:
    values = np.sort(np.random.default_rng(count).standard_normal(count))[::-1]
    expected = np.quantile(values, (0.25, 0.5, 0.75))
    assert quartiles(values) == pytest.approx(tuple(expected), rel=1e-14, abs=1e-15)
