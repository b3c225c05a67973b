"""Scores: one number per matrix, each a pure function of its singular values.

Letters: p = min(m, n), q = max(m, n), beta = p / q; S are the p singular values, descending,
float64, with S[0] > 0. Adding a score is one function, one line in `SCORES` and one test.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spectrum_ft.spectra.edges import noise_edge, published_edge
from spectrum_ft.spectra.solvers import Values

Shape = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A named score: how it is computed and which matrices it recommends for training."""

    name: str
    """The name used in records, options and reports."""
    better: Literal["high", "low"]
    """Which end is trained first."""
    of: Callable[[Values, Shape], float | None]
    """The score of singular values and shape; None where the score is unbounded."""
    meaning: str
    """What it measures, in a few words for help texts."""


def quartiles(values: Values) -> tuple[float, float, float]:
    """q25, median and q75 of descending values, linearly interpolated as numpy and torch do."""
    # Not `numpy.quantile`: it sorts what is sorted, and holds the interpreter's lock for it.
    last = len(values) - 1
    found = []
    for share in (0.25, 0.5, 0.75):
        place = (1.0 - share) * last
        below = min(math.floor(place), last - 1) if last else 0
        one, other = float(values[below]), float(values[min(below + 1, last)])
        found.append(one + (other - one) * (place - below))
    return found[0], found[1], found[2]


def edge_of_snr(values: Values, shape: Shape) -> float:
    """The published noise edge of these singular values."""
    q25, _, q75 = quartiles(values)
    return published_edge(q25, q75, shape)


def edge_of_snr_mp(values: Values, shape: Shape) -> float:
    """The Marchenko-Pastur noise edge of these singular values."""
    _, median, _ = quartiles(values)
    return noise_edge(median, shape)


def snr(values: Values, shape: Shape) -> float | None:
    """The Spectrum paper's signal-to-noise ratio (arXiv 2406.06623), as its code computes it.

    (sum of S above the edge / sum of the rest) / S[0]; where nothing is left as noise the
    denominator counts as 1, and where the noise is exactly zero the ratio is unbounded: None.
    """
    return snr_at(values, edge_of_snr(values, shape))


def snr_at(values: Values, edge: float) -> float | None:
    """`snr` with the noise edge given, in the unit of the values."""
    is_signal = values > edge
    noise = float(values[~is_signal].sum()) if not is_signal.all() else 1.0
    return float(values[is_signal].sum()) / noise / float(values[0]) if noise > 0.0 else None


def is_saturated(values: Values, shape: Shape) -> bool:
    """Whether the published edge leaves no noise, so that `snr` is not a ratio at all."""
    return not np.any(values[values <= edge_of_snr(values, shape)] > 0.0)


def snr_mp(values: Values, shape: Shape) -> float | None:
    """Signal energy over noise energy at the Marchenko-Pastur edge; free of the weights' scale.

    sum of S^2 above `noise_edge` / sum of the rest. The edge lies above the median, so half of
    the values are noise; only where all of those are exactly zero it is unbounded: None.
    """
    return snr_mp_at(values, edge_of_snr_mp(values, shape))


def snr_mp_at(values: Values, edge: float) -> float | None:
    """`snr_mp` with the noise edge given, in the unit of the values."""
    energy = (values / values[0]) ** 2
    is_signal = values > edge
    noise = float(energy[~is_signal].sum())
    return float(energy[is_signal].sum()) / noise if noise > 0.0 else None


def alpha(values: Values, shape: Shape) -> float | None:
    """The power-law exponent of the eigenvalues S^2: Hill's estimator over the upper half.

    1 + k / sum_{i <= k} ln(lambda_i / lambda_{k+1}), k = floor(p / 2) (PL_Alpha_Hill of AlphaLoRA,
    arXiv 2410.10054; TempBalance trains large alphas more). None for a flat or rank-deficient half.
    """
    k = len(values) // 2
    if k == 0 or values[k] == 0.0:
        return None
    total = float(np.sum(2.0 * np.log(values[:k] / values[k])))
    return 1.0 + k / total if total > 0.0 else None


def stable_rank(values: Values, shape: Shape) -> float | None:
    """||W||_F^2 / ||W||_2^2, in [1, p]."""
    return float(np.sum((values / values[0]) ** 2))


def effective_rank(values: Values, shape: Shape) -> float | None:
    """exp of the entropy of S / sum S, in [1, p] (Roy and Vetterli 2007)."""
    share = values[values > 0.0] / np.sum(values)
    return math.exp(-float(np.sum(share * np.log(share))))


def condition(values: Values, shape: Shape) -> float | None:
    """S[0] / S[p-1], at least 1 (KappaTune, arXiv 2506.16289); None for a singular matrix."""
    return float(values[0] / values[-1]) if values[-1] > 0.0 else None


SCORES: Mapping[str, Score] = {
    score.name: score
    for score in (
        Score(name="snr", better="high", of=snr, meaning="signal to noise, as published"),
        Score(name="snr_mp", better="high", of=snr_mp, meaning="signal to noise, Marchenko-Pastur"),
        Score(name="alpha", better="high", of=alpha, meaning="power-law exponent"),
        Score(name="stable_rank", better="high", of=stable_rank, meaning="energy over its maximum"),
        Score(name="effective_rank", better="high", of=effective_rank, meaning="entropy rank"),
        Score(name="condition", better="low", of=condition, meaning="condition number"),
    )
}
"""Every score, by name; `snr` is the default."""
