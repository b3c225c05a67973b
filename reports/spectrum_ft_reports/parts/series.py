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

    As many to the left as to the right, so that a straight line stays what it is. Each mean is
    taken by itself: in running sums, one huge value would swallow all that follow.
    """
    reach = np.minimum(window // 2, np.minimum(places, len(values) - 1 - places))
    spans = zip(places - reach, places + reach + 1, strict=True)
    return np.asarray([values[begin:end].mean() for begin, end in spans], dtype=np.float64)


def evenly_chosen(count: int, most: int) -> Places:
    """At most `most` of the places from 0 to `count` - 1, both ends among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


def peaks(values: Row, most: int) -> Places:
    """At most `most` places, in order: of each stretch its lowest and its highest value.

    A line through them covers what a line through all values covers.
    """
    if len(values) <= most:
        return np.arange(len(values))
    bounds = np.linspace(0, len(values), most // 2 + 1).round().astype(int)
    kept = set[int]()
    for begin, end in pairwise(bounds):
        stretch = values[begin:end]
        kept |= {int(begin + stretch.argmin()), int(begin + stretch.argmax())}
    return np.asarray(sorted(kept), dtype=np.intp)
