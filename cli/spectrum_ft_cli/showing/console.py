"""Results on standard output."""

from rich.console import Console


class ReportConsole(Console):
    """A console whose reader may go away: the program decides what that means, not rich."""

    def __init__(self) -> None:
        super().__init__(highlight=False)

    def on_broken_pipe(self) -> None:
        raise  # rich calls this where it caught the BrokenPipeError
