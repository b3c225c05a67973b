"""Long rows of numbers made fit to be drawn: smoothed, and thinned to what can be seen."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float64]
Places = NDArray[np.intp]

_FEWEST_TO_SMOOTH = 20


def smoothing_window(count: int) -> int:
    """How many of `count` values a moving mean takes: a twentieth, an odd number; 1 for none."""
    return 1 if count < _FEWEST_TO_SMOOTH else max(3, count // 20 | 1)


def moving_mean(values: Row, window: int, places: Places) -> Row:
    """The mean of `window` neighbours of the value at each of `places`; near the ends of fewer.

    Near the start as many before a value as after it, since a loss falls steeply there; near the
    end those that are left. Each mean is taken by itself: in running sums, one huge value would
    swallow all that follow.
    """
    before = np.minimum(window // 2, places)
    after = np.minimum(before, len(values) - 1 - places)
    spans = zip(places - before, places + after + 1, strict=True)
    return np.asarray([values[begin:end].mean() for begin, end in spans], dtype=np.float64)


def evenly_chosen(count: int, most: int) -> Places:
    """At most `most` of the places from 0 to `count` - 1, both ends among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


def ranges(values: Row, most: int) -> tuple[Places, Row, Row]:
    """The middle of each of `most` stretches, its lowest and its highest value.

    What a line through all `values` covers, where there are more of them than can be seen.
    """
    bounds = np.linspace(0, len(values), min(most, len(values)) + 1).round().astype(np.intp)
    stretches = [values[begin:end] for begin, end in pairwise(bounds)]
    middles = (bounds[:-1] + bounds[1:] - 1) // 2
    lows, highs = [part.min() for part in stretches], [part.max() for part in stretches]
    return middles, np.asarray(lows), np.asarray(highs)
