"""Figures and the axes in them, placed by what stands around them."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spectrum_ft_reports.drawing.labels import SIZE
from spectrum_ft_reports.drawing.style import DPI, NOTES_SIZE, WIDTH

# In inches: room above for a title, and below for an axis: more where another picture follows, less
# where the page goes on; left of an axis with figures, right of one without names; between an axis
# and names, and between it and names that lines lead to.
ABOVE, BELOW, UNDERNEATH, TRIM = 0.85, 0.65, 0.5, 0.12
_FIGURES, _NOTHING, _GAP, _LED_GAP = 0.75, 0.25, 0.25, 0.75

_LINE, _FITTING = 0.17, 2
"""The inches that a line of notes takes, and how many lines `ABOVE` has room for."""

_EDGE = 0.1
"""The inches that notes stay away from the right edge."""

_MOST = 3.5
"""The most that texts beside axes get; what is longer is cut by the picture's edge."""


def blank_figure(height: float) -> Figure:
    """An empty figure of our width and `height` inches."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def framed_axes(
    figure: Figure,
    *,
    bottom: float,
    height: float,
    left: Sequence[str] = (),
    right: Sequence[str] = (),
) -> Axes:
    """Axes `bottom` inches above the figure's lower edge, between the texts on both their sides.

    Without texts on the left there is room for the figures of an axis, and lines lead to those on
    the right.
    """
    whole = figure.get_figheight()
    begin = min(_widest(figure, left), _MOST) + _GAP if left else _FIGURES
    end = min(_widest(figure, right), _MOST) + (_GAP if left else _LED_GAP) if right else _NOTHING
    return figure.add_axes(
        (begin / WIDTH, bottom / whole, (WIDTH - begin - end) / WIDTH, height / whole)
    )


def broken_notes(axes: Axes, notes: str) -> str:
    """`notes` in lines that fit between the left of `axes` and the figure's edge.

    Broken only between two notes, at `; `: a single one that is too long stays as it is.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = WIDTH * (1.0 - axes.get_position().x0) - _EDGE
    lines = []
    for given in notes.split("\n"):
        line = ""
        for note in given.split("; "):
            longer = f"{line}; {note}" if line else note
            if line and _widest(figure, [longer], NOTES_SIZE) > room:
                lines.append(f"{line};")
                longer = note
            line = longer
        lines.append(line)
    return "\n".join(lines)


def make_room(figure: Figure, noted: Sequence[tuple[Axes, str]]) -> None:
    """Make `figure` higher where notes have more lines than there is room for above their axes.

    `noted` are its axes from the top, and what stands above each. Nothing else changes in inches.
    """
    whole = figure.get_figheight()
    more = [_LINE * max(0, notes.count("\n") + 1 - _FITTING) for _, notes in noted]
    total = whole + sum(more)
    for row, (axes, _) in enumerate(noted):
        box = axes.get_position()
        bottom = box.y0 * whole + sum(more[row + 1 :])
        axes.set_position((box.x0, bottom / total, box.width, box.height * whole / total))
    figure.set_figheight(total)


def _widest(figure: Figure, names: Sequence[str], size: float = SIZE) -> float:
    """The width of the widest name, in inches."""
    texts = [figure.text(0, 0, name, fontsize=size) for name in names]
    width = max((text.get_window_extent().width for text in texts), default=0.0) / DPI
    for text in texts:
        text.remove()
    return width
