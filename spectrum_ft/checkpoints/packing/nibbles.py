"""Two weights in a byte: both looked up at once."""

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.complex64]
"""(256,): for each byte its two weights, in the order of the matrix, as one number of 8 bytes."""


def pairs_of(code: NDArray[np.float32], *, high_first: bool) -> Pairs:
    """What each byte unpacks to under a code of 16 values."""
    table = np.stack(np.broadcast_arrays(code[:, None], code[None, :]), axis=-1)  # (high, low, 2)
    ordered = table if high_first else table[..., ::-1]
    return np.ascontiguousarray(ordered, np.float32).reshape(256, 2).view(np.complex64)[:, 0]


def look_up(raw: NDArray[np.uint8], pairs: Pairs) -> NDArray[np.float32]:
    """The weights of packed bytes, flat, twice as many."""
    return pairs[raw].view(np.float32)
