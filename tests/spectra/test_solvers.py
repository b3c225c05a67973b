"""Singular values against a float64 SVD, and the bound on their error."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import oracles
from spectrum_ft.spectra.solvers import (
    METHODS,
    Matrix,
    Method,
    UnscorableError,
    Values,
    largest_magnitude,
    singular_values,
    uncertainty,
)

SHAPES = [(64, 64), (192, 64), (64, 192), (300, 17), (1, 40), (129, 128)]


def handing_over(matrix: NDArray[np.floating]) -> Callable[[], Matrix]:
    """What a solver calls to get its own copy of `matrix`, C order, float32 unless float64."""
    if matrix.dtype == np.float64:
        return lambda: np.array(matrix, dtype=np.float64, order="C")
    return lambda: np.array(matrix, dtype=np.float32, order="C")


def allowed(found: Values, shape: tuple[int, int], method: Method) -> Values:
    """The solver's own bound, and on top of it that of the float64 SVD it is compared with."""
    return uncertainty(found, shape, method) + uncertainty(found, shape, "svd64")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_method_agrees_with_the_svd_within_its_own_bound(
    shape: tuple[int, int], method: Method
) -> None:
    matrix = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    found = singular_values(handing_over(matrix), method)
    truth = oracles.singular_values(matrix)
    assert found.shape == (min(shape),)
    assert np.all(np.diff(found) <= 0)
    assert np.all(np.abs(found - truth) <= allowed(found, shape, method))


@pytest.mark.parametrize("method", METHODS)
def test_the_bound_holds_over_six_decades_of_singular_values(method: Method) -> None:
    chosen = np.geomspace(1.0, 1e-6, 96)
    matrix = oracles.with_spectrum(chosen, (96, 200), seed=2).astype(np.float32)
    found = singular_values(handing_over(matrix), method)
    truth = oracles.singular_values(matrix)
    assert np.all(np.abs(found - truth) <= allowed(found, (96, 200), method))


@pytest.mark.parametrize("shape", [(512, 512), (576, 1536), (1024, 1024)])
def test_the_bound_holds_on_pure_noise_whose_largest_values_lie_close_together(
    shape: tuple[int, int],
) -> None:
    matrix = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = singular_values(handing_over(matrix), "gram32")
    truth = oracles.singular_values(matrix)
    assert np.all(np.abs(found - truth) <= allowed(found, shape, "gram32"))


def test_a_better_method_promises_more_and_keeps_it() -> None:
    chosen = np.geomspace(1.0, 1e-5, 64)
    matrix = oracles.with_spectrum(chosen, (64, 64), seed=3).astype(np.float32)
    truth = oracles.singular_values(matrix)
    errors, bounds = [], []
    for method in METHODS:
        found = singular_values(handing_over(matrix), method)
        errors.append(np.abs(found - truth).max())
        bounds.append(uncertainty(found, (64, 64), method).max())
    assert errors[0] > errors[1] > errors[2]
    assert bounds[0] > bounds[1] > bounds[2]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("exponent", [-130, -60, -1, 3, 100])
def test_scaling_by_a_power_of_two_scales_the_values_exactly(method: Method, exponent: int) -> None:
    # From denormals to where the square of an entry overflows float32.
    matrix = np.random.default_rng(4).standard_normal((40, 24))
    matrix = np.ldexp(np.round(matrix * 64) / 64, 0)  # few bits, so that denormals lose none
    plain = singular_values(handing_over(matrix.astype(np.float32)), method)
    scaled = singular_values(handing_over(np.ldexp(matrix, exponent).astype(np.float32)), method)
    assert np.array_equal(np.ldexp(plain, exponent), scaled)


@pytest.mark.parametrize("method", METHODS)
def test_a_matrix_and_its_transpose_have_the_same_values(method: Method) -> None:
    matrix = np.random.default_rng(5).standard_normal((160, 96)).astype(np.float32)
    one = singular_values(handing_over(matrix), method)
    other = singular_values(handing_over(matrix.T), method)
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_float64_weights_keep_their_precision_in_the_careful_methods() -> None:
    chosen = np.geomspace(1.0, 1e-9, 32)
    matrix = oracles.with_spectrum(chosen, (32, 48), seed=6)
    found = singular_values(handing_over(matrix), "svd64")
    np.testing.assert_allclose(found, chosen, rtol=1e-5)


def test_a_wide_float64_gram_matrix_of_many_panels_is_summed_right() -> None:
    # 32 MiB panels of 8 x 400 bytes a row: 20,000 rows take two of them.
    matrix = np.random.default_rng(7).standard_normal((400, 20_000)).astype(np.float32)
    found = singular_values(handing_over(matrix), "gram64")
    np.testing.assert_allclose(found, oracles.singular_values(matrix), rtol=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", METHODS)
def test_a_non_finite_weight_is_found_before_any_solver(method: Method, value: float) -> None:
    matrix = np.ones((300, 300), dtype=np.float32)
    matrix[299, 298] = value
    with pytest.raises(UnscorableError, match="NaN or infinite"):
        singular_values(handing_over(matrix), method)


@pytest.mark.parametrize("method", METHODS)
def test_a_zero_matrix_has_no_values_to_score(method: Method) -> None:
    with pytest.raises(UnscorableError, match="all weights are zero"):
        singular_values(handing_over(np.zeros((20, 30), dtype=np.float32)), method)


def test_the_largest_magnitude_sees_both_signs_and_nan() -> None:
    assert largest_magnitude(np.array([[-3.0, 2.0]])) == 3.0
    assert np.isnan(largest_magnitude(np.array([[np.nan, np.inf]])))
