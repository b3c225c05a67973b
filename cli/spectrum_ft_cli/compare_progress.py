"""A comparison as it goes: a bar for its trials on a terminal, a line for each elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from spectrum_ft_cli.talk import Talk
from spectrum_ft_reports.comparisons.progress import finished_line, heard_text

if TYPE_CHECKING:
    from spectrum_ft.comparing.comparing import Heard

Watch = Callable[["Heard"], None]


@contextmanager
def following(talk: Talk) -> Iterator[Watch]:
    """What to tell of everything that happens in a comparison, so that the user sees it."""
    if talk.quiet:
        yield lambda heard: None
    elif talk.console.is_terminal:
        with _bar(talk) as watch:
            yield watch
    else:
        yield _lines(talk)


def _lines(talk: Talk) -> Watch:
    def watch(heard: "Heard") -> None:
        if heard.trial is not None:
            talk.say(finished_line(heard))

    return watch


@contextmanager
def _bar(talk: Talk) -> Iterator[Watch]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.fields[count]}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=talk.console, transient=True) as progress:
        task = progress.add_task("preparing", count="")

        def watch(heard: "Heard") -> None:
            count = f"{heard.number}/{heard.of}"
            if heard.trial is not None:
                progress.console.print(finished_line(heard), markup=False, highlight=False)
            progress.update(
                task,
                total=heard.of,
                completed=heard.number if heard.trial else heard.number - 1 + _share(heard),
                description=heard_text(heard),
                count=count,
            )

        yield watch


def _share(heard: "Heard") -> float:
    """How much of its trial is done, as far as its steps tell."""
    steps = heard.message.get("steps")
    return 0.9 * heard.message["step"] / steps if steps else 0.0
