"""Statistics of comparisons: against scipy, by hand, and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from spectrum_ft.comparing.proportions import wilson
from spectrum_ft.comparing.statistics import (
    bootstrap_interval,
    crossed_interval,
    holm,
    ratio_contributions,
    sampled_interval,
)


def test_without_examples_variance_it_is_the_t_test_over_seeds() -> None:
    by_seed = np.array([0.30, 0.10, 0.55, 0.21])
    found = crossed_interval(np.tile(by_seed[:, None], (1, 50)))
    expected = stats.ttest_1samp(by_seed, 0.0)
    low, high = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_without_seed_variance_it_is_the_t_test_over_examples() -> None:
    by_example = np.random.default_rng(0).normal(0.1, 1.0, 200)
    expected = stats.ttest_1samp(by_example, 0.0)
    low, high = expected.confidence_interval(0.95)
    for found in (crossed_interval(np.tile(by_example, (3, 1))), sampled_interval(by_example)):
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_both_parts_are_added_each_with_its_own_quantile() -> None:
    # By hand: seeds' means 0.1 and 0.3, examples' means 0 and 0.4, mean 0.2.
    table = np.array([[0.0, 0.2], [0.0, 0.6]])
    t1 = 12.706204736  # both have one degree of freedom
    half = (t1**2 * 0.02 / 2 + t1**2 * 0.08 / 2) ** 0.5
    found = crossed_interval(table)
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half), rel=1e-6)


def test_equal_arms_are_no_different_and_unequal_ones_without_variance_are() -> None:
    assert crossed_interval(np.zeros((3, 20))).p == 1.0
    # All 20 signs agree by chance with the probability 2 / 2^20; of two questions, with 1/2.
    assert crossed_interval(np.full((3, 20), 0.1)).p == pytest.approx(2.0**-19, rel=1e-12)
    assert crossed_interval(np.full((3, 2), 1.0)).p == 0.5


@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(0.01, 100.0),
    n=st.integers(2, 6),
    m=st.integers(2, 40),
)
@settings(derandomize=True, max_examples=80, deadline=None)
def test_intervals_scale_turn_and_do_not_depend_on_the_order(
    seed: int, scale: float, n: int, m: int
) -> None:
    chance = np.random.default_rng(seed)
    table = chance.normal(0.2, 1.0, (n, m))
    found = crossed_interval(table)
    assert found.low <= found.mean <= found.high
    assert (found.p < 0.05) == (found.low > 0.0 or found.high < 0.0)
    scaled = crossed_interval(-scale * table)
    assert (scaled.low, scaled.high) == pytest.approx(
        (-scale * found.high, -scale * found.low), rel=1e-6, abs=1e-9
    )
    assert scaled.p == pytest.approx(found.p, rel=1e-6, abs=1e-9)
    mixed = crossed_interval(table[chance.permutation(n)][:, chance.permutation(m)])
    assert (mixed.low, mixed.p) == pytest.approx((found.low, found.p), rel=1e-6, abs=1e-9)


def test_holm_by_hand() -> None:
    # Sorted: .01 x 4 = .04, .02 x 3 = .06, .03 x 2 = .06, .04 x 1 = .04 -> .06.
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([None, 0.02, None]) == [None, 0.02, None]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_wilson_is_scipys() -> None:
    for successes, trials in ((0, 10), (8, 10), (10, 10), (123, 300)):
        expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_bootstrap_agrees_with_scipys_and_repeats() -> None:
    values = np.random.default_rng(1).exponential(1.0, 120)
    ours = bootstrap_interval(values)
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=2_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    # The Monte-Carlo error of a percentile of 2,000 draws is about 0.01 here.
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.04)
    assert bootstrap_interval(values) == ours


def test_contributions_to_a_ratio_have_it_for_their_mean_and_vary_as_it_does() -> None:
    chance = np.random.default_rng(3)
    counts = chance.integers(1, 9, (1, 400)).astype(float)
    sums = counts * chance.gamma(2.0, 1.0, (1, 400))
    found = ratio_contributions(sums, counts)
    assert found.mean() == pytest.approx(sums.sum() / counts.sum(), rel=1e-12)
    drawn = chance.integers(0, 400, (4000, 400))
    spread = (sums[0][drawn].sum(axis=1) / counts[0][drawn].sum(axis=1)).std()
    # The delta method is of first order: within 10 % of the bootstrap's spread at 400 examples.
    assert found[0].std(ddof=1) / 20.0 == pytest.approx(spread, rel=0.1)
