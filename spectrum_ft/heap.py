"""How glibc's heap treats large blocks. Elsewhere nothing here has an effect."""

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def return_large_blocks(at_least: int, *, keep: int | None = None) -> None:
    """Have freed blocks of `at_least` bytes given back to the system at once.

    By itself glibc raises its threshold for that whenever a large block is freed, up to 32 MiB,
    and then keeps what many threads freed, up to a half more than is in use; a threshold that was
    set stays. Fresh pages have to be cleared, which is what it costs. Up to `keep` bytes of
    smaller blocks stay for later; None leaves glibc's own limit.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return  # not glibc
    mallopt(_M_MMAP_THRESHOLD, at_least)
    if keep is not None:
        mallopt(_M_TRIM_THRESHOLD, keep)
