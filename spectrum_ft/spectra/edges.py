"""Where noise ends in a spectrum: two estimates of the largest singular value of pure noise.

Letters: p = min(m, n), q = max(m, n), beta = p / q; `values` are the singular values.
"""

import math
from functools import lru_cache

import numpy as np

from spectrum_ft.spectra.solvers import Values

_IQR_OF_NORMAL = 1.349
"""The interquartile range of a standard normal; the published code's rounding of 1.34898."""

_TRACY_WIDOM_99 = 2.023
"""The 99 % quantile of the Tracy-Widom law of order 1 (Johnstone 2001, table 1)."""


def aspect(shape: tuple[int, int]) -> float:
    """beta = p / q, in (0, 1]."""
    return min(shape) / max(shape)


def published_edge(q25: float, q75: float, shape: tuple[int, int]) -> float:
    """The edge of the Spectrum method (arXiv 2406.06623) as its reference code computes it.

    sigma (1 + sqrt(beta)) with sigma the interquartile range *of the singular values* over 1.349.
    That is no Marchenko-Pastur edge (the factor sqrt(q) is missing): it is kept because selections
    made with it are published and used.
    """
    sigma = (q75 - q25) / _IQR_OF_NORMAL
    return sigma * (1.0 + math.sqrt(aspect(shape)))


def noise_edge(median: float, shape: tuple[int, int]) -> float:
    """The edge above which a singular value is signal with 99 % confidence.

    The noise scale is the median over its expectation for noise alone, sigma = median /
    sqrt(q mu_beta) (Gavish and Donoho 2014, section III-E). The edge is the finite-size law of the
    largest singular value of q x p noise (Johnstone 2001, theorem 1.1) at its 99 % quantile.
    """
    p, q = min(shape), max(shape)
    sigma_squared = median**2 / (q * marchenko_pastur_median(p / q))
    root = math.sqrt(q - 1) if q > 1 else 1.0
    centre = root + math.sqrt(p)
    spread = centre * (1.0 / root + 1.0 / math.sqrt(p)) ** (1.0 / 3.0)
    return math.sqrt(sigma_squared * (centre**2 + _TRACY_WIDOM_99 * spread))


@lru_cache(maxsize=1024)
def marchenko_pastur_median(beta: float) -> float:
    """mu_beta, the median of the Marchenko-Pastur law of aspect `beta` in (0, 1].

    The law lives on [(1 - sqrt(beta))^2, (1 + sqrt(beta))^2]. With x = 1 + beta - 2 sqrt(beta)
    cos(t), its distribution function is the integral over [0, t] of 2 sin(t)^2 / (pi x): smooth,
    so 64 Gauss-Legendre points leave an error below 1e-12, and bisection does the rest.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)

    def below(angle: float) -> float:
        t = angle * (nodes + 1.0) / 2.0
        density = 2.0 * np.sin(t) ** 2 / (math.pi * _at(t, beta))
        return float(angle / 2.0 * np.sum(weights * density))

    low, high = 0.0, math.pi
    while high - low > 1e-14:
        middle = (low + high) / 2.0
        low, high = (middle, high) if below(middle) < 0.5 else (low, middle)
    return float(_at(np.float64(low), beta))


def _at(angle: Values | np.float64, beta: float) -> Values | np.float64:
    return 1.0 + beta - 2.0 * math.sqrt(beta) * np.cos(angle)
