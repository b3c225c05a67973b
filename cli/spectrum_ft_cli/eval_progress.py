"""An evaluation as it goes: a bar on a terminal, a line at its start elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spectrum_ft_cli.talk import Talk

Watch = Callable[[int, int], None]


@contextmanager
def counting(what: str, talk: Talk) -> Iterator[Watch]:
    """What to tell how much of how much is done, so that the user sees it."""
    if talk.quiet or not talk.console.is_terminal:
        talk.say(f"{what} ...")
        yield lambda done, of: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        Remaining(),
    )
    with Progress(*columns, console=talk.console, transient=True, expand=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)
