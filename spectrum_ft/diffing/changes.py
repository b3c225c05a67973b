"""Changes between two numbers, two rankings and two spectra: finite whatever goes in."""

import math
from collections import Counter
from collections.abc import Sequence

from spectrum_ft.records.diffs import SpectrumChange
from spectrum_ft.records.scans import SpectrumSummary
from spectrum_ft.spectra.solvers import Values


def change(a: float, b: float) -> float:
    """`(b - a) / max(|a|, |b|)`, in [-2, 2]; 0 where both are 0."""
    larger = max(abs(a), abs(b))
    # Divided before they are subtracted: the difference of two floats may be beyond all of them.
    return b / larger - a / larger if larger else 0.0


def median(values: Sequence[float]) -> float | None:
    """The median of finite numbers, which is finite as well; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else ordered[half - 1] / 2 + ordered[half] / 2


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation of paired values, infinite ones allowed, ties averaged.

    None where either side's values are all equal, one pair or none included. Exactly 1 for equal
    rankings. Not scipy's: that takes longer to import than two scans take to compare.
    """
    ranks_a, ranks_b = _centred_ranks(a), _centred_ranks(b)
    spread = sum(r * r for r in ranks_a) * sum(r * r for r in ranks_b)
    if spread == 0:
        return None
    product = sum(r * s for r, s in zip(ranks_a, ranks_b, strict=True))
    return max(-1.0, min(1.0, product / math.sqrt(spread)))


def _centred_ranks(values: Sequence[float]) -> list[int]:
    """Twice the averaged ranks, less their mean: whole numbers, so that sums of them are exact."""
    counts = Counter(values)
    below = 0
    ranks = {}
    for value in sorted(counts):
        # Ranks below + 1 to below + count; twice their mean, less twice the mean of all.
        ranks[value] = 2 * below + 1 + counts[value] - (len(values) + 1)
        below += counts[value]
    return [ranks[value] for value in values]


def spectrum_change(a: SpectrumSummary | None, b: SpectrumSummary | None) -> SpectrumChange | None:
    """How the singular values changed; None unless both summaries are there.

    The smallest value is left out: it is the least certain one.
    """
    if a is None or b is None:
        return None
    parts = {
        "max": change(a.max, b.max),
        "q25": change(a.q25, b.q25),
        "median": change(a.median, b.median),
        "q75": change(a.q75, b.q75),
        "sum": change(a.sum, b.sum),
    }
    return SpectrumChange(**parts, largest=max(parts.values(), key=abs))


def distance(a: Values | None, b: Values | None) -> float | None:
    """||a - b|| / max(||a||, ||b||) of descending singular values, below 1.42.

    None unless both are there and equally many.
    """
    if a is None or b is None or len(a) != len(b):
        return None
    scale = max(float(a[0]), float(b[0]))
    if not 0.0 < scale < math.inf:
        return None
    norms = [float(((values / scale) ** 2).sum()) for values in (a, b)]
    return math.sqrt(float(((a / scale - b / scale) ** 2).sum()) / max(norms))
