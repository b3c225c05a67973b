"""The memory of a device, shared between the threads that use it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DeviceRoom:
    """Bytes of a device, lent to threads and given back."""

    def __init__(self, num_bytes: int) -> None:
        """Room for `num_bytes` at a time."""
        self._num_bytes = num_bytes
        self._lent = 0
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, num_bytes: int) -> Iterator[None]:
        """Have `num_bytes`, once they fit beside what the others have.

        More than there is at all is lent to a thread that is alone: the number is an estimate, and
        whether it is too much only the device can tell.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._lent or self._fits(num_bytes))
            self._lent += num_bytes
        try:
            yield
        finally:
            with self._changed:
                self._lent -= num_bytes
                self._changed.notify_all()

    def _fits(self, num_bytes: int) -> bool:
        return self._lent + num_bytes <= self._num_bytes
