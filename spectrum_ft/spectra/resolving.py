"""Whether singular values are known well enough for the scores that are made of them.

The scores count values above an edge, so a value that may lie on either side matters more than
the rounding of all the others. Each score is recomputed with its quartiles and its edge moved as
far as the uncertainty allows; if it would move too far, the values deserve a better method.
"""

import math

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.spectra.edges import noise_edge, published_edge
from spectrum_ft.spectra.scores import Shape, quartiles, snr_at, snr_mp_at
from spectrum_ft.spectra.solvers import METHODS, Method, Values, uncertainty

TOLERANCE = 1e-4
"""The largest relative change of `snr` or `snr_mp` that the uncertainty may cause."""

ONE_SIDED = 0.2
"""The part of their bound by which values that may be zero are off, all to the same side."""

CONDITION_TOLERANCE = 1e-2
"""The same for `condition`, which hangs on the smallest, least certain value alone."""


def is_resolved(values: Values, shape: Shape, method: Method, *, for_score: str = "snr") -> bool:
    """Whether `method` was accurate enough; always true of the last method.

    `condition` is held to its own tolerance only where it is the score that ranks.
    """
    if method == METHODS[-1]:
        return True
    delta = uncertainty(values, shape, method)
    if for_score == "condition" and not is_condition_resolved(values, shape, method):
        return False
    return max(_snr_spread(values, delta, shape), _snr_mp_spread(values, delta, shape)) <= TOLERANCE


def is_condition_resolved(values: Values, shape: Shape, method: Method) -> bool:
    """Whether the smallest singular value is certain to within 1 %."""
    delta = uncertainty(values, shape, method)
    return bool(delta[-1] <= CONDITION_TOLERANCE * values[-1])


def _snr_spread(values: Values, delta: Values, shape: Shape) -> float:
    q25, _, q75 = quartiles(values)
    moved = float(np.interp(q25, values[::-1], delta[::-1]))  # the larger of the two quartiles'
    low = published_edge(q25 + moved, q75 - moved, shape)
    high = published_edge(q25 - moved, q75 + moved, shape)
    low, high = _widened(low, high, values, delta)
    return _relative(snr_at(values, low), snr_at(values, high)) + _of_sums(
        values, delta, values > low
    )


def _snr_mp_spread(values: Values, delta: Values, shape: Shape) -> float:
    _, median, _ = quartiles(values)
    moved = float(np.interp(median, values[::-1], delta[::-1]))
    low, high = noise_edge(max(median - moved, 0.0), shape), noise_edge(median + moved, shape)
    low, high = _widened(low, high, values, delta)
    energy, energy_delta = values**2, 2.0 * values * delta
    return _relative(snr_mp_at(values, low), snr_mp_at(values, high)) + _of_sums(
        energy, energy_delta, values > low
    )


def _widened(low: float, high: float, values: Values, delta: Values) -> tuple[float, float]:
    """The edge's interval, and on both sides the uncertainty of a value that lies there."""
    below, above = np.interp((low, high), values[::-1], delta[::-1])
    return low - float(below), high + float(above)


def _relative(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    return abs(one - other) / max(abs(one), abs(other)) if one != other else 0.0


def _of_sums(terms: Values, delta: Values, is_signal: NDArray[np.bool_]) -> float:
    """The relative uncertainty of (sum of signal / sum of noise).

    To first order an eigenvalue moves by v^T E v, with E the error of the Gram matrix: of the bound
    |E| behind `delta` that is one part in sqrt(p) on average, and independent between eigenvalues.
    So the sums are off by the root of the mean square of `delta`, not by its sum. Except for values
    that may as well be zero: their squares cannot err below zero, so what they add does not cancel;
    `ONE_SIDED` of their bound is more than was ever measured.
    """
    spread = 0.0
    for part in (is_signal, ~is_signal):
        total = float(terms[part].sum())
        if total > 0.0:
            relative = delta[part] / total
            spread += math.sqrt(float(np.sum(relative**2)) / len(terms))
            lost = delta[part] >= terms[part]
            spread += ONE_SIDED * float(np.sum(relative[lost]))
    return spread
