"""The training loss of every arm, against steps or against seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from spectrum_ft.records.comparisons import ArmResult, Comparison, CurvePoint
from spectrum_ft_reports.drawing.labels import Ending, name_endings
from spectrum_ft_reports.drawing.style import Caption, Look, label_text, looks
from spectrum_ft_reports.parts.bounds import bounded
from spectrum_ft_reports.parts.series import Row, evenly_chosen, moving_mean, smoothing_window

Against = Literal["steps", "seconds"]

_ALL_POINTS, _MOST_POINTS, _FEWEST_POINTS = 6_000, 400, 24
"""How many points a picture has, and each of its lines."""

_MOST_WITH_SEEDS = 24
"""From more arms than these, only means are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """The course of an arm."""

    name: str
    look: Look
    x: Row
    """Steps or mean seconds, (places,)."""
    mean: Row
    """Mean smoothed loss over the seeds, (places,)."""
    seeds: list[tuple[Row, Row]]
    """Each seed's own, if there are several."""


def draw_losses(axes: Axes, comparison: Comparison, against: Against) -> Caption:
    """Draw the loss against `against`: an arm's mean as a line, its seeds as thin ones."""
    longest = max((len(curve) for arm in comparison.arms for curve in arm.curves), default=0)
    window = smoothing_window(longest)
    trained = [arm for arm in comparison.arms if any(arm.curves)]
    with_seeds = len(trained) <= _MOST_WITH_SEEDS
    lines = sum(1 + len(arm.curves) * with_seeds for arm in trained)
    most = min(_MOST_POINTS, max(_FEWEST_POINTS, _ALL_POINTS // max(lines, 1)))
    courses = [
        _course(arm, arm_look, against, window, most, with_seeds=with_seeds)
        for arm, arm_look in zip(comparison.arms, looks(comparison), strict=True)
        if any(arm.curves)
    ]
    cut, is_log = _limits(axes, courses)
    for course in courses:
        for x, loss in course.seeds:
            axes.plot(x, loss, color=course.look.colour, linewidth=0.6, alpha=0.35)
        axes.plot(
            course.x,
            course.mean,
            color=course.look.colour,
            linestyle=course.look.dash,
            linewidth=1.9,
        )
        end = float(course.x[-1]), float(course.mean[-1])
        axes.plot(*end, marker="o", markersize=4, color=course.look.colour)
    axes.set_xlabel("optimizer steps" if against == "steps" else "seconds of training")
    axes.set_ylabel("training loss, nats a token" + (", log scale" if is_log else ""))
    notes = []
    if window > 1:
        notes.append(f"moving mean of {window} steps")
    if any(course.seeds for course in courses):
        notes.append("thick: mean of the seeds, thin: each seed")
    if cut:
        notes.append("cut at the top")
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
    return Caption(f"Training loss against {against}", "; ".join(notes))


def _course(
    arm: ArmResult, look: Look, against: Against, window: int, most: int, *, with_seeds: bool
) -> _Course:
    """The course of an arm at no more than `most` of its steps."""
    curves = [curve for curve in arm.curves if curve]
    shortest = min(map(len, curves))
    places = evenly_chosen(shortest, most)
    xs = np.asarray([_along(curve[:shortest], against)[places] for curve in curves])
    losses = np.asarray(
        [moving_mean(_losses(curve[:shortest]), window, places) for curve in curves]
    )  # both (seeds, places)
    seeds = list(zip(xs, losses, strict=True)) if with_seeds and len(curves) > 1 else []
    return _Course(
        name=arm.name, look=look, x=xs.mean(axis=0), mean=losses.mean(axis=0), seeds=seeds
    )


def _along(curve: Sequence[CurvePoint], against: Against) -> Row:
    return np.asarray(
        [bounded(float(point.step) if against == "steps" else point.seconds) for point in curve]
    )


def _losses(curve: Sequence[CurvePoint]) -> Row:
    return np.asarray([bounded(point.loss) for point in curve], dtype=np.float64)


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
