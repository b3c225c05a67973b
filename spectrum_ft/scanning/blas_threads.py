"""One BLAS thread for each worker, however many scans a process runs at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


class _Limit:
    """The limit that all who need it share: the number of BLAS threads belongs to the process."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._users = 0
        self._limits: threadpool_limits | None = None

    def enter(self) -> None:
        with self._changing:
            if self._users == 0:
                self._limits = threadpool_limits(1, user_api="blas")
            self._users += 1

    def leave(self) -> None:
        with self._changing:
            self._users -= 1
            if self._users == 0 and self._limits is not None:
                self._limits.restore_original_limits()
                self._limits = None


_LIMIT = _Limit()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS calls take one thread inside, as long as anyone is inside."""
    _LIMIT.enter()
    try:
        yield
    finally:
        _LIMIT.leave()
