"""Rows of bars by layer, one row a name: where in a model there is how much of something."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from spectrum_ft_reports.drawing.labels import SIZE
from spectrum_ft_reports.drawing.style import FAINT, GREY, INK, label_text

_BAR, _REACH, _MARK = 0.72, 0.32, 0.37
"""A bar's width in layers; how far it and a mark go from the middle of their row, in rows."""

_LEAST = 0.02
"""The least height of a bar for what is not nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A row of bars."""

    name: str
    """What it is about."""
    values: Mapping[int, float]
    """The value at each layer where there is one."""
    text: str
    """What is said right of it."""
    colour: str
    """The colour of its bars."""
    entering: frozenset[int] = field(default_factory=frozenset)
    """Layers that get a filled mark."""
    leaving: frozenset[int] = field(default_factory=frozenset)
    """Layers that get a hollow mark."""


def draw_strips(axes: Axes, strips: Sequence[Strip], *, layers: int) -> None:
    """Draw the rows, all on one scale; values below 0, if there are any, go down."""
    most = max((abs(value) for strip in strips for value in strip.values.values()), default=0.0)
    signed = any(value < 0.0 for strip in strips for value in strip.values.values())
    axes.set_xlim(-0.6, layers - 0.4)
    axes.set_ylim(len(strips) - 0.5, -0.5)
    axes.set_yticks(range(len(strips)), [label_text(strip.name) for strip in strips])
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=SIZE, pad=8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True, steps=[1, 2, 5, 10]))
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("layer")
    for place, strip in enumerate(strips):
        base = place if signed else place + _REACH
        reach = _REACH if signed else 2.0 * _REACH
        axes.plot([-0.5, layers - 0.5], [base, base], color=FAINT, linewidth=0.8, zorder=1)
        bars = [
            (layer, base, -reach * _height(value, most))
            for layer, value in strip.values.items()
            if value
        ]
        axes.add_patch(PathPatch(_path(bars), facecolor=strip.colour, linewidth=0, zorder=2))
        for layers_of, face in ((strip.entering, INK), (strip.leaving, "white")):
            if not layers_of:
                continue
            axes.plot(
                sorted(layers_of),
                [place - _MARK] * len(layers_of),
                linestyle="",
                marker="^" if face == INK else "v",
                markersize=5,
                color=INK,
                markerfacecolor=face,
                markeredgewidth=1.0,
                clip_on=False,
                zorder=3,
            )
        axes.annotate(
            strip.text,
            (1.02, place),
            xycoords=axes.get_yaxis_transform(),
            fontsize=9,
            color=GREY,
            va="center",
            annotation_clip=False,
        )


def _height(value: float, most: float) -> float:
    """How far a bar goes, in [-1, 1]."""
    share = value / most
    return float(np.copysign(max(abs(share), _LEAST), share))


def _path(bars: Iterable[tuple[float, float, float]]) -> Path:
    """All bars as one path, which takes far less room in a file than as many bars."""
    corners: list[tuple[float, float]] = []
    codes: list[np.uint8] = []
    for middle, base, rise in bars:
        left, right = middle - _BAR / 2, middle + _BAR / 2
        corners += [(left, base), (left, base + rise), (right, base + rise), (right, base)]
        corners.append((left, base))
        codes += [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return Path(np.asarray(corners or np.zeros((0, 2))), codes or None)
