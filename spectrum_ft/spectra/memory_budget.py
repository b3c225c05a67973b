"""A budget of memory that several workers share."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """Bytes that are lent to workers and given back; never more in all than `total`."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._left = total
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    @contextmanager
    def reserve(self, num_bytes: int) -> Iterator[None]:
        """Have `num_bytes`, at most `total`, for as long as the context lasts; waits for them.

        A worker must not reserve while it holds a reservation: two that did could wait for each
        other for ever.
        """
        assert num_bytes <= self.total
        ticket = object()  # in turn, or a large request would wait while small ones pass it by
        with self._changed:
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket and num_bytes <= self._left)
            self._queue.popleft()
            self._left -= num_bytes
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._left += num_bytes
                self._changed.notify_all()
