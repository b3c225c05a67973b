"""Stopping a run: asked once it ends after its step, asked twice at once."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Whether this process was asked to stop, by Ctrl+C or SIGTERM, while the block runs.

    Until it is armed, and from the second time on, a signal does what it did before. Signals
    that are ignored, as those of a job in the background may be, stay ignored.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first signal that asked; None if none has."""
        self._armed = False
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def arm(self) -> None:
        """From now on there is something to keep: the first signal only asks."""
        self._armed = True

    def asked(self) -> bool:
        """Whether a signal has asked."""
        return self.signal is not None

    def __enter__(self) -> "Stopping":
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if callable(before):
                self._before[number] = before
                signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    # Nothing is printed here: the signal may have come in the middle of another print.
    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._armed and self.signal is None:
            self.signal = number
            return
        self._before[number](number, frame)
