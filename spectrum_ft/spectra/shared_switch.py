"""A setting of the whole process that several threads need at a time."""

import threading
from collections.abc import Callable


class SharedSwitch:
    """A context in which a setting of the process is on, from the first in to the last out."""

    def __init__(self, turn_on: Callable[[], Callable[[], None]]) -> None:
        """`turn_on` changes the setting and returns what puts it back."""
        self._turn_on = turn_on
        self._put_back: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._put_back = self._turn_on()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._put_back is not None:
                self._put_back()
