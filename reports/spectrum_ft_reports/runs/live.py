"""What is said of a run while it is at work."""

from dataclasses import dataclass

from spectrum_ft.records.training import TrainStep
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.sparklines import Cell, curve
from spectrum_ft_reports.runs.course import Course


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseView:
    """A run that is at work."""

    done: int
    """Steps done."""
    steps: int
    """Steps in all."""
    time: str
    """How many steps are done, since when, and how long the rest takes."""
    losses: tuple[Cell, ...]
    """The training loss of every step seen."""
    facts: tuple[Fact, ...]
    """Where it stands, one line each."""


def course_view(course: Course, *, elapsed: float, stopping: bool) -> CourseView:
    """The view of a run at work, `elapsed` seconds after this process began it."""
    return CourseView(
        done=course.done,
        steps=course.steps,
        time=_time(course, elapsed),
        losses=curve(course.losses),
        facts=tuple(_course_facts(course, stopping)),
    )


def _time(course: Course, elapsed: float) -> str:
    left = course.seconds_left
    remaining = f", {numbers.seconds(left)} left" if left is not None else ""
    return f"{course.done:,}/{course.steps:,}, {numbers.seconds(elapsed)}{remaining}"


def _course_facts(course: Course, stopping: bool) -> list[Fact]:
    facts = []
    if course.last is None:
        facts.append(Fact("now", "loading the model, and the first step"))
    else:
        assert course.last.loss is not None
        assert course.mean_loss is not None
        mean = f"mean {numbers.loss(course.mean_loss)}"
        facts.append(Fact("loss", f"{numbers.loss(course.last.loss)} now, {mean}"))
        facts.append(Fact("rate", ", ".join(_pace(course, course.last))))
    if course.evaluated is not None and course.best is not None:
        facts.append(Fact("held-out", _held_out(course.evaluated, course.best)))
    if stopping:
        facts.append(Fact("stopping", "after this step; Ctrl+C again leaves at once"))
    return facts


def _held_out(evaluated: TrainStep, best: TrainStep) -> str:
    assert evaluated.eval_loss is not None
    assert best.eval_loss is not None
    if evaluated is best:
        return f"{numbers.loss(evaluated.eval_loss)} after step {evaluated.step:,}, the best so far"
    return (
        f"{numbers.loss(evaluated.eval_loss)} after step {evaluated.step:,}, "
        f"best {numbers.loss(best.eval_loss)} after step {best.step:,}"
    )


def _pace(course: Course, step: TrainStep) -> list[str]:
    rates = [numbers.rate(rate) for rate in (step.lr, step.lora_lr) if rate is not None]
    adapters = " (adapters)" if step.lora_lr is not None else ""
    parts = [f"lr {' and '.join(rates)}{adapters}"]
    if (speed := course.tokens_per_second) is not None:
        parts.append(f"{speed:,.0f} tokens/s")
    if step.memory_bytes is not None:
        parts.append(numbers.size(step.memory_bytes))
    return parts


def step_line(course: Course) -> str:
    """The step seen last in one line."""
    step = course.last
    assert step is not None
    assert step.loss is not None
    pace = "  ".join(_pace(course, step))
    return f"step {step.step:,}/{course.steps:,}  loss {numbers.loss(step.loss)}  {pace}"


def evaluation_line(course: Course) -> str:
    """The evaluation seen last in one line."""
    assert course.evaluated is not None
    assert course.best is not None
    return f"held-out loss {_held_out(course.evaluated, course.best)}"
