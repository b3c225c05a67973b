"""The training loss of every arm, against steps or against seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from spectrum_ft.records.comparisons import ArmResult, Comparison, CurvePoint
from spectrum_ft_reports.comparisons.views import model_name
from spectrum_ft_reports.drawing.labels import Ending, name_endings
from spectrum_ft_reports.drawing.style import Look, entitle, label_text, looks

Against = Literal["steps", "seconds"]
Row = NDArray[np.float64]

_MOST_POINTS = 400
_FEWEST_TO_SMOOTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """The course of an arm."""

    name: str
    look: Look
    x: Row
    """Steps or mean seconds, (steps,)."""
    mean: Row
    """Mean smoothed loss over the seeds, (steps,)."""
    seeds: list[tuple[Row, Row]]
    """Each seed's own, if there are several."""


def draw_losses(axes: Axes, comparison: Comparison, against: Against) -> None:
    """Draw the loss against `against`: an arm's mean as a line, its seeds as thin ones."""
    longest = max((len(curve) for arm in comparison.arms for curve in arm.curves), default=0)
    window = _window(longest)
    courses = [
        _course(arm, arm_look, against, window)
        for arm, arm_look in zip(comparison.arms, looks(comparison), strict=True)
        if any(arm.curves)
    ]
    cut, is_log = _limits(axes, courses)
    for course in courses:
        for x, loss in course.seeds:
            axes.plot(*_thinned(x, loss), color=course.look.colour, linewidth=0.6, alpha=0.35)
        axes.plot(
            *_thinned(course.x, course.mean),
            color=course.look.colour,
            linestyle=course.look.dash,
            linewidth=1.9,
        )
        end = float(course.x[-1]), float(course.mean[-1])
        axes.plot(*end, marker="o", markersize=4, color=course.look.colour)
    axes.set_xlabel("optimizer steps" if against == "steps" else "seconds of training")
    axes.set_ylabel("training loss, nats a token" + (", log scale" if is_log else ""))
    notes = [model_name(comparison)]
    if window > 1:
        notes.append(f"moving mean of {window} steps")
    if any(course.seeds for course in courses):
        notes.append("thick: mean of the seeds, thin: each seed")
    if cut:
        notes.append("cut at the top")
    entitle(axes, f"Training loss against {against}", "; ".join(notes))
    name_endings(
        axes,
        [
            Ending(
                text=label_text(course.name),
                at=(float(course.x[-1]), float(course.mean[-1])),
                look=course.look,
            )
            for course in courses
        ],
    )


def _window(steps: int) -> int:
    """How many steps the moving mean takes: a twentieth, an odd number; 1 for none."""
    return 1 if steps < _FEWEST_TO_SMOOTH else max(3, steps // 20 | 1)


def _course(arm: ArmResult, look: Look, against: Against, window: int) -> _Course:
    curves = [curve for curve in arm.curves if curve]
    shortest = min(map(len, curves))
    xs = np.asarray([_along(curve[:shortest], against) for curve in curves])  # (seeds, steps)
    losses = np.asarray([_smoothed(curve[:shortest], window) for curve in curves])
    seeds = list(zip(xs, losses, strict=True)) if len(curves) > 1 else []
    return _Course(
        name=arm.name, look=look, x=xs.mean(axis=0), mean=losses.mean(axis=0), seeds=seeds
    )


def _along(curve: Sequence[CurvePoint], against: Against) -> list[float]:
    return [float(point.step) if against == "steps" else point.seconds for point in curve]


def _smoothed(curve: Sequence[CurvePoint], window: int) -> Row:
    """The moving mean of the loss; towards the ends of as many neighbours as there are."""
    losses = np.asarray([point.loss for point in curve], dtype=np.float64)
    sums = np.concatenate([[0.0], losses.cumsum()])
    places = np.arange(len(losses))
    reach = np.minimum(window // 2, np.minimum(places, len(losses) - 1 - places))
    smoothed: Row = (sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1)
    return smoothed


def _limits(axes: Axes, courses: Sequence[_Course]) -> tuple[bool, bool]:
    """Set the axes' limits so that an arm that diverges hides no other.

    Returns whether that cuts it, and whether the loss has a logarithmic scale.
    """
    lowest = min(float(course.mean.min()) for course in courses)
    highest = max(float(course.mean.max()) for course in courses)
    top = min(highest, 1.5 * max(float(course.mean[0]) for course in courses))
    is_log = lowest > 0.0 and top > 2.0 * lowest
    if is_log:
        axes.set_yscale("log")
        axes.set_ylim(lowest / 1.08, 1.08 * top)
        decades = math.log10(top / lowest)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if decades < 2 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        room = 0.04 * (top - lowest) or 0.1 * abs(top) or 1.0
        axes.set_ylim(lowest - room, top + room)
    axes.set_xlim(0.0, 1.01 * max(float(course.x[-1]) for course in courses) or 1.0)
    return highest > top, is_log


def _thinned(x: Row, y: Row) -> tuple[Row, Row]:
    """As many points as can be seen, the last one among them."""
    if len(x) <= _MOST_POINTS:
        return x, y
    places = np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(int)
    return x[places], y[places]
