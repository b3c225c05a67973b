"""The errors a user can cause, each with a way out.

SpectrumError
├── CheckpointError     a model's files cannot be used
├── RecordError         a scan, plan or result file cannot be used
├── PlanError           what was asked of a plan cannot be had
└── OutputError         a result cannot be written

The library raises them; only the command line prints them and exits. A broken invariant of
our own is an `assert`, never one of these.
"""


class SpectrumError(Exception):
    """A mistake outside our code: `message` says what and where, `hint` says what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CheckpointError(SpectrumError):
    """A checkpoint is missing, damaged, unsafe or of a kind that cannot be read."""


class RecordError(SpectrumError):
    """A record file is malformed, too new, or not the kind of record that was asked for."""


class PlanError(SpectrumError):
    """A plan cannot be made as asked: nothing matches, nothing is left, or values clash."""


class OutputError(SpectrumError):
    """A result cannot be written where it was asked for."""
