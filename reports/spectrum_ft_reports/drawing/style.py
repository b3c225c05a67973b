"""How pictures look: one light style whatever the user's own settings, and an arm's colour."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes

from spectrum_ft.records.comparisons import Comparison
from spectrum_ft_reports.pages.theme import LIGHT
from spectrum_ft_reports.parts.untrusted import printable

INK, GREY, FAINT = LIGHT.ink, LIGHT.grey, LIGHT.faint
_DASHES = ("solid", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

WIDTH, DPI = 9.0, 100
"""Inches, and the dots of one: 900 of them, at which all sizes of text are chosen."""

NOTES_SIZE = 9
"""The size of the notes above a picture, in points."""

_SETTINGS: dict[Any, Any] = {
    "figure.dpi": DPI,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # which matplotlib brings along
    "font.size": 10.5,
    "text.color": INK,
    "text.parse_math": False,  # a `$` in a name is a `$`
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "spectrum-ft",  # or every file would differ
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How an arm is drawn, the same in every picture."""

    colour: str
    """Its colour."""
    dash: str | tuple[float, tuple[float, ...]]
    """Its lines; another one for each turn through the colours."""
    marker: str
    """Its points."""


UNTRAINED = Look(colour=GREY, dash=(0, (6, 3)), marker="")
"""How arms look that train nothing."""


def looks(comparison: Comparison) -> tuple[Look, ...]:
    """The look of each arm."""
    turns = count()
    return tuple(UNTRAINED if arm.steps is None else _look(next(turns)) for arm in comparison.arms)


def _look(place: int) -> Look:
    """The look of the arm at `place` among those that train."""
    turn = place // len(LIGHT.series)
    return Look(
        colour=LIGHT.series[place % len(LIGHT.series)],
        dash=_DASHES[turn % len(_DASHES)],
        marker=_MARKERS[turn % len(_MARKERS)],
    )


class Caption(NamedTuple):
    """What is said of a picture: above it in a file, around it on a page."""

    title: str
    """What it shows."""
    notes: str
    """What to know, in one line or two."""


@contextmanager
def styled() -> Iterator[None]:
    """Our style for as long as it lasts."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The font draws a box for a sign that it lacks, which is all that can be done.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def label_text(name: str) -> str:
    """A name, safe to show, and short enough to stand beside a line."""
    return printable(name, 32)


def entitle(axes: Axes, title: str, notes: str) -> None:
    """Put a title and what to know above `axes`, from the left."""
    lines = notes.count("\n") + 1
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=12 + 13 * lines)
    axes.annotate(
        notes,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 8),
        textcoords="offset points",
        fontsize=NOTES_SIZE,
        color=GREY,
        va="bottom",
        linespacing=1.35,
    )
