"""A run as it trains: one live view on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spectrum_ft.records.training import TrainStep
from spectrum_ft_cli.stopping import Stopping
from spectrum_ft_cli.talk import Talk
from spectrum_ft_reports.runs.course import Course
from spectrum_ft_reports.runs.live import course_view, evaluation_line, step_line

Watch = Callable[[TrainStep], None]

_LINES = 20
"""How many lines a whole run takes where there is no terminal, evaluations not counted."""


@contextmanager
def watching(steps: int, stopping: Stopping, talk: Talk) -> Iterator[Watch]:
    """What to tell of every step of a run of `steps` steps, so that the user sees it."""
    course = Course(steps)
    if talk.quiet:
        yield course.add
    elif talk.console.is_terminal:
        with _live_view(course, stopping) as watch:
            yield watch
    else:
        talk.say("Loading the model ...")
        yield _lines(course, talk)


def _lines(course: Course, talk: Talk) -> Watch:
    shown = 0  # twentieths of the run

    def watch(step: TrainStep) -> None:
        nonlocal shown
        first = not course.losses
        course.add(step)
        if step.eval_loss is not None:
            talk.say(evaluation_line(course))
            return
        mark = step.step * _LINES // course.steps
        if mark > shown or first:
            shown = mark
            talk.say(step_line(course))

    return watch


@contextmanager
def _live_view(course: Course, stopping: Stopping) -> Iterator[Watch]:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from spectrum_ft_reports.runs.terminal import live_course

    # Not the talk's own console, which never wraps.
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()

    def shown() -> RenderableType:
        elapsed = time.monotonic() - began
        return live_course(console, course_view(course, elapsed=elapsed, stopping=stopping.asked()))

    with Live(
        get_renderable=shown,
        console=console,
        refresh_per_second=4,
        transient=True,
        redirect_stdout=False,
    ):
        yield course.add
