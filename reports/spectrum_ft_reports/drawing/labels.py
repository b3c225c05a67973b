"""Labels beside what they name, none over another."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import hypot, inf
from typing import Any, Literal, NamedTuple

from matplotlib.axes import Axes

from spectrum_ft_reports.drawing.style import GREY, INK, Look

SIZE = 9.5
"""The labels' size in points."""

_NEARBY = 0.96
"""How far to the right a line has to end to be joined to its name, of the axes' width."""


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights as near to the `wanted` ones as can be, `gap` apart, between `low` and `high`.

    Where there is no room for all of them, they stand closer, evenly. The nearest heights in least
    squares: pools of neighbours that would overlap stand around their mean.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    pools: list[list[float]] = []  # sum, count
    for rank, place in enumerate(order):
        pools.append([wanted[place] - rank * gap, 1.0])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] >= pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += count
    starts = [total / count for total, count in pools for _ in range(int(count))]
    ceiling = high - (len(wanted) - 1) * gap
    heights = [0.0] * len(wanted)
    for rank, place in enumerate(order):
        heights[place] = min(max(starts[rank], low), max(ceiling, low)) + rank * gap
    return heights


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A line that is named at the right edge of a picture."""

    text: str
    """Its name."""
    at: tuple[float, float]
    """Where it ends, in data's units."""
    look: Look
    """How it looks."""


def name_endings(axes: Axes, endings: Sequence[Ending]) -> None:
    """Write each name right of `axes`, level with its line's end as far as there is room.

    A piece of the line stands before its name, and is joined to it where it ends nearby.
    """
    height = axes.get_window_extent().height
    line = 1.25 * SIZE / 72 * axes.figure.dpi / height  # in fractions of the axes
    to_fraction = axes.transData + axes.transAxes.inverted()
    ends = [to_fraction.transform(ending.at) for ending in endings]
    levels = spread([min(max(float(y), 0.0), 1.0) for _, y in ends], line, 0.0, 1.0)
    inside = 0.0 - 1e-6, 1.0 + 1e-6
    for ending, (x, y), level in zip(endings, ends, levels, strict=True):
        drawn: dict[str, Any] = {
            "color": ending.look.colour,
            "transform": axes.transAxes,
            "clip_on": False,
        }
        if x > _NEARBY and inside[0] <= y <= inside[1]:
            axes.plot([float(x), 1.025], [float(y), level], linewidth=0.8, alpha=0.6, **drawn)
        axes.plot([1.025, 1.06], [level, level], linewidth=1.9, linestyle=ending.look.dash, **drawn)
        axes.text(
            1.07,
            level,
            ending.text,
            transform=axes.transAxes,
            fontsize=SIZE,
            color=INK,
            va="center_baseline",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point that is named, and the bar through it."""

    text: str
    """Its name."""
    at: tuple[float, float]
    """Where it is, in data's units."""
    bar: tuple[float, float]
    """The lower and upper end of its bar."""


_RADIUS = 7
"""How far a point's sign reaches, in dots."""


class _Box(NamedTuple):
    """A rectangle, in dots."""

    left: float
    bottom: float
    right: float
    top: float

    def shared(self, other: "_Box") -> float:
        """The area that it shares with another one."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def nearest(self, at: tuple[float, float]) -> tuple[float, float]:
        """The place in it that is nearest to `at`."""
        x, y = at
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def holds(self, at: tuple[float, float]) -> bool:
        """Whether `at` lies in it."""
        return self.left < at[0] < self.right and self.bottom < at[1] < self.top

    def grown(self, by: float) -> "_Box":
        """It, wider on every side."""
        return _Box(self.left - by, self.bottom - by, self.right + by, self.top + by)


class _Place(NamedTuple):
    """Where a label may stand, in points from its point."""

    right: float
    up: float


# Near first, then further out.
_RINGS = (9, 20, 34, 50, 68, 90, 115, 145)
_DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
_RISES = (1.0, 0.5, 2.0)
_PLACES = tuple(
    _Place(ring * right, ring * up * rise)
    for ring, rise, (right, up) in product(_RINGS, _RISES, _DIRECTIONS)
    if up or rise == 1.0
)

# What a label costs for each dot that it covers or, of another point, stands close to, for each
# point that its line runs through, for each piece of a line under a label, and for each place that
# it stands further out.
_NAME_COST, _EDGE_COST, _CLOSE_COST, _THROUGH_COST, _FURTHER_COST = 1000.0, 2000.0, 25.0, 3e4, 10.0
_OWN_BAR_COST, _BAR_COST, _LINE_COST = 1.5, 6.0, 400.0
_CLOSE, _CLOSE_LED = 20.0, 8.0
"""How near to another point a label seems to be that point's, in dots: without a line, and with."""


def name_points(axes: Axes, points: Sequence[Point]) -> None:
    """Write each point's name where it covers no other name and no point, if there is room.

    Names that had to stand apart from their points get a line to them.
    """
    frame = _Box(*axes.get_window_extent().extents)
    dots = {point: _dot(axes, point) for point in points}
    names = list(dots.values())
    bars = {point: _bar(axes, point) for point in points}
    pieces: list[tuple[float, float]] = []
    scale = axes.figure.dpi / 72
    for point in sorted(points, key=lambda point: -_neighbours(axes, point, points)):
        text = axes.annotate(
            point.text,
            point.at,
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=SIZE,
            color=INK,
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
        )
        # Measured once: the layout of a text takes far longer than all the rest.
        size = text.get_window_extent()
        others = [dot for other, dot in dots.items() if other != point]
        close = {
            led: [dot.grown(_CLOSE_LED if led else _CLOSE) for dot in others]
            for led in (False, True)
        }
        crossed = [
            (_OWN_BAR_COST if other == point else _BAR_COST, bar) for other, bar in bars.items()
        ]
        own = dots[point].centre
        labels = names[len(dots) :]
        best, least = _PLACES[0], inf
        for order, place in enumerate(_PLACES):
            cost = _FURTHER_COST * order
            if cost >= least:
                break  # all the others stand further out yet
            led = _is_led(place)
            box = _at(own, scale, place, size.width, size.height)
            cost += (
                _NAME_COST * sum(box.shared(other) for other in names)
                + sum(each * box.shared(bar) for each, bar in crossed)
                + _CLOSE_COST * sum(box.shared(other) for other in close[led])
                + _LINE_COST * sum(box.holds(piece) for piece in pieces)
                + _EDGE_COST * (box.shared(box) - box.shared(frame))
            )
            if cost < least and led:
                end = box.nearest(own)
                line = _pieces(own, end)
                cost += _LINE_COST * sum(label.holds(piece) for label in labels for piece in line)
                cost += _THROUGH_COST * _passed(own, end, others)
            if cost < least:
                best, least = place, cost
        text.set_position(best)
        text.set_horizontalalignment(_beside(best.right))
        text.set_verticalalignment(_above(best.up))
        box = _at(own, scale, best, size.width, size.height)
        names.append(box)
        if _is_led(best):
            end = box.nearest(own)
            _lead(axes, point, end)
            pieces += _pieces(own, end)


def _beside(right: float) -> Literal["left", "center", "right"]:
    """How a text is aligned that stands `right` of its point."""
    return "left" if right > 0.0 else "right" if right < 0.0 else "center"


def _above(up: float) -> Literal["bottom", "center", "top"]:
    """How a text is aligned that stands `up` from its point."""
    return "bottom" if up > 0.0 else "top" if up < 0.0 else "center"


def _at(own: tuple[float, float], scale: float, place: _Place, width: float, height: float) -> _Box:
    """What a label of the point at `own` covers at `place`; `scale` in dots for each of its points.

    All else is in dots.
    """
    x, y = own[0] + scale * place.right, own[1] + scale * place.up
    left = x if place.right > 0 else x - width if place.right < 0 else x - width / 2
    bottom = y if place.up > 0 else y - height if place.up < 0 else y - height / 2
    return _Box(left - 1, bottom - 1, left + width + 1, bottom + height + 1)


def _dot(axes: Axes, point: Point) -> _Box:
    x, y = axes.transData.transform(point.at)
    return _Box(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS)


def _bar(axes: Axes, point: Point) -> _Box:
    x = axes.transData.transform(point.at)[0]
    low, high = (axes.transData.transform((point.at[0], end))[1] for end in point.bar)
    return _Box(x - 3, low, x + 3, high)


def _is_led(place: _Place) -> bool:
    """Whether a label at `place` is so far from its point that a line joins them."""
    return max(abs(place.right), abs(place.up)) > _RINGS[0]


def _pieces(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """Places on a line, closer than a label is high."""
    number = 2 + int(hypot(end[0] - start[0], end[1] - start[1]) / 8.0)
    return [
        (start[0] + (end[0] - start[0]) * i / number, start[1] + (end[1] - start[1]) * i / number)
        for i in range(1, number)
    ]


def _passed(start: tuple[float, float], end: tuple[float, float], dots: Sequence[_Box]) -> int:
    """How many of `dots` a line runs through; those that lie on its start do not count."""
    along, up = end[0] - start[0], end[1] - start[1]
    length = hypot(along, up) or 1.0
    number = 0
    for dot in dots:
        x, y = dot.centre[0] - start[0], dot.centre[1] - start[1]
        near = abs(x * up - y * along) / length < _RADIUS
        number += near and _RADIUS < (x * along + y * up) / length < length
    return number


def _neighbours(axes: Axes, point: Point, points: Sequence[Point]) -> int:
    """How many points lie within an inch."""
    x, y = axes.transData.transform(point.at)
    others = (axes.transData.transform(other.at) for other in points)
    inch = axes.figure.dpi
    return sum(1 for a, b in others if (a - x) ** 2 + (b - y) ** 2 < inch**2)


def _lead(axes: Axes, point: Point, end: tuple[float, float]) -> None:
    """Draw a line from a point to `end`, in dots."""
    x1, y1 = axes.transData.inverted().transform(end)
    axes.plot([point.at[0], x1], [point.at[1], y1], color=GREY, linewidth=0.6, zorder=1.5)
