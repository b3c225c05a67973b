"""What a command says besides its result: all of it on standard error."""

import sys
import traceback
from functools import cached_property
from typing import TYPE_CHECKING

from spectrum_ft.errors import SpectrumError

if TYPE_CHECKING:
    from rich.console import Console


class Talk:
    """How much one run of the program says, and where."""

    def __init__(self) -> None:
        self.quiet = False
        self.verbose = False
        self.kept: str | None = None
        """What is safe if the run is interrupted now, and how to go on."""

    @cached_property
    def console(self) -> "Console":
        """Standard error, made on first use: rich is not needed for a `--help`."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line for the user, unless quiet."""
        if not self.quiet:
            print(_printable(text), file=sys.stderr, flush=True)

    def show_error(self, error: SpectrumError) -> None:
        """`Error:` and at most one `Hint:`; the traceback before them if verbose."""
        if self.verbose:
            traceback.print_exception(error, file=sys.stderr)
        print(f"Error: {_printable(error.message)}", file=sys.stderr)
        if error.hint:
            print(f"Hint: {_printable(error.hint)}", file=sys.stderr)

    def show_interrupted(self) -> None:
        """What became of the work so far."""
        kept = f" {self.kept}" if self.kept else ""
        print(f"Interrupted.{kept}", file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    from spectrum_ft_reports.parts.untrusted import printable

    return printable(text, limit=600)
