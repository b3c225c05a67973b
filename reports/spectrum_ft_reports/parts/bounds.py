"""Numbers that can be drawn and added up, whatever a record holds."""

_MOST = 1e100


def bounded(value: float) -> float:
    """`value`, or what is nearest to it within 1e100 of zero: sums and scales of it stay finite."""
    return min(max(value, -_MOST), _MOST)
