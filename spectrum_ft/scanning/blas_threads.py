"""One BLAS thread for each worker, however many scans a process runs at a time."""

from collections.abc import Callable

from threadpoolctl import threadpool_limits

from spectrum_ft.spectra.shared_switch import SharedSwitch


def _limit() -> Callable[[], None]:
    restore: Callable[[], None] = threadpool_limits(1, user_api="blas").restore_original_limits
    return restore


ONE_BLAS_THREAD = SharedSwitch(_limit)
"""A context in which BLAS calls take one thread: the number belongs to the process."""
