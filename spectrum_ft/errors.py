"""The errors a user can cause, each with a way out.

SpectrumError
├── CheckpointError     a model's files cannot be used
├── RecordError         a scan, plan or result file cannot be used
├── DiffError           two scans have nothing to compare
├── ComputeError        there is no such device or engine here, or too little memory
├── PlanError           what was asked of a plan cannot be had
├── DataError           training data cannot be read, or nothing can be learned from it
├── TrainError          a run cannot start, go on or resume
└── OutputError         a result cannot be written

The library raises them; only the command line prints them and exits. A broken invariant of
our own is an `assert`, never one of these.
"""

from collections.abc import Sequence
from typing import Self

MAX_MESSAGE = 400
"""The most characters of a message; file names and torch's own words can be much longer."""


class SpectrumError(Exception):
    """A mistake outside our code: `message` says what and where, `hint` says what to do.

    Both quote what strangers wrote, so they are kept to one short line of printable characters.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = _one_line(message)
        self.hint = None if hint is None else _one_line(hint)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[type[Self], tuple[str, str | None]]:
        """What makes it again in another process."""
        return type(self), (self.message, self.hint)


def _one_line(text: str) -> str:
    """`text` with what does not print escaped, and its middle left out if it is long."""
    half = (MAX_MESSAGE - 3) // 2
    ends = text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}{text[-MAX_MESSAGE:]}"
    safe = "".join(c if c.isprintable() else repr(c)[1:-1] for c in ends)
    return safe if len(safe) <= MAX_MESSAGE else f"{safe[:half]}...{safe[-half:]}"


def few_names(names: Sequence[str]) -> str:
    """The first three of a stranger's names, safe to quote in a message, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(ascii(name)[1:-1][:80] for name in names[:3]) + more


class CheckpointError(SpectrumError):
    """A checkpoint is missing, damaged, unsafe or of a kind that cannot be read."""


class RecordError(SpectrumError):
    """A record file is malformed, too new, or not the kind of record that was asked for."""


class ComputeError(SpectrumError):
    """What a scan is to compute with is not there, or is not enough."""


class TrainError(SpectrumError):
    """A training run cannot start, must not go on, or cannot be resumed."""


class UnsoundRunError(TrainError):
    """A run came to nothing by itself: its loss is no number, or what trains does not move."""


class PlanError(SpectrumError):
    """A plan cannot be made as asked: nothing matches, nothing is left, or values clash."""


class DataError(SpectrumError):
    """Training data cannot be read, does not fit a known shape, or leaves nothing to learn."""


class OutputError(SpectrumError):
    """A result cannot be written where it was asked for."""
