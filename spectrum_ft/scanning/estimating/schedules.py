"""How long workers take together: the largest matrices first, as long as there is memory."""

import heapq
from collections.abc import Iterable
from typing import NamedTuple


class Task(NamedTuple):
    """What one worker does at a time: a matrix, or a batch of equal ones."""

    seconds: float
    """How long it takes."""
    num_bytes: int
    """The memory that it takes meanwhile."""


def makespan(tasks: Iterable[Task], *, workers: int, memory_bytes: float) -> float:
    """Seconds until the last of `tasks` is done, each begun in its turn as soon as it can be.

    One that takes more than `memory_bytes` runs alone.
    """
    running: list[tuple[float, int]] = []
    now = last = 0.0
    lent = 0
    for seconds, num_bytes in tasks:
        while running and (len(running) == workers or lent + num_bytes > memory_bytes):
            now, returned = heapq.heappop(running)
            lent -= returned
        heapq.heappush(running, (now + seconds, num_bytes))
        lent += num_bytes
        last = max(last, now + seconds)
    return last
