"""What is known of a share that was counted."""

from statistics import NormalDist


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share, in [0, 1], of `trials` >= 1 (Wilson, JASA 22, 1927)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * (share * (1.0 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    scale = 1.0 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
