"""Independent definitions of what the library computes, written from the papers alone.

Nothing here imports the package: float64, full singular value decompositions, scipy's quadrature.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, optimize

Array = NDArray[np.float64]


def singular_values(matrix: NDArray[np.floating]) -> Array:
    """Singular values by LAPACK's SVD in float64, descending."""
    return np.linalg.svd(np.asarray(matrix, dtype=np.float64), compute_uv=False)


def published_snr(s: Array, shape: tuple[int, ...]) -> float:
    """The published script's score of singular values, line by line, in float64."""
    sigma = (np.quantile(s, 0.75) - np.quantile(s, 0.25)) / 1.349
    n, m = shape
    beta = n / m if n < m else m / n
    threshold = sigma * math.sqrt((1 + math.sqrt(beta)) ** 2)
    signal = s[s > threshold].sum() if (s > threshold).any() else 0.0
    noise = s[s <= threshold].sum() if (s <= threshold).any() else 1.0
    return float(signal / noise / s[0])


def marchenko_pastur_median(beta: float) -> float:
    """The median of the Marchenko-Pastur law, by adaptive quadrature of its density."""
    low, high = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2

    def density(x: float) -> float:
        return math.sqrt(max((high - x) * (x - low), 0.0)) / (2 * math.pi * beta * x)

    def excess(x: float) -> float:
        return float(integrate.quad(density, low, x, limit=200)[0]) - 0.5

    return float(optimize.brentq(excess, low + 1e-12, high - 1e-12, xtol=1e-12))


def marchenko_pastur_snr(s: Array, shape: tuple[int, ...]) -> float:
    """Energy above over energy below the 99 % Tracy-Widom edge, noise scale from the median."""
    p, q = min(shape), max(shape)
    sigma = np.median(s) / math.sqrt(q * marchenko_pastur_median(p / q))
    mu = (math.sqrt(q - 1) + math.sqrt(p)) ** 2
    spread = (math.sqrt(q - 1) + math.sqrt(p)) * (1 / math.sqrt(q - 1) + 1 / math.sqrt(p)) ** (
        1 / 3
    )
    edge = sigma * math.sqrt(mu + 2.023 * spread)
    return float((s[s > edge] ** 2).sum() / (s[s <= edge] ** 2).sum())


def with_spectrum(values: NDArray[np.floating], shape: tuple[int, int], seed: int) -> Array:
    """A matrix of `shape` with these singular values and random singular vectors."""
    chance = np.random.default_rng(seed)
    p = min(shape)
    assert len(values) == p
    left = np.linalg.qr(chance.standard_normal((shape[0], p)))[0]
    right = np.linalg.qr(chance.standard_normal((shape[1], p)))[0]
    matrix: Array = (left * values) @ right.T
    return matrix
