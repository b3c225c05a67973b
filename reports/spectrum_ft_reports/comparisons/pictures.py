"""A comparison in pictures."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spectrum_ft.records.comparisons import Comparison
from spectrum_ft_reports.comparisons.curves import draw_losses
from spectrum_ft_reports.comparisons.scatter import draw_accuracies
from spectrum_ft_reports.drawing.labels import SIZE
from spectrum_ft_reports.drawing.style import DPI, WIDTH, label_text, styled

_MEMORY = "accuracy-by-memory"
_DRAWN: dict[str, Callable[[Axes, Comparison], None]] = {
    _MEMORY: draw_accuracies,
    "loss-by-step": lambda axes, comparison: draw_losses(axes, comparison, "steps"),
    "loss-by-time": lambda axes, comparison: draw_losses(axes, comparison, "seconds"),
}

PICTURES = tuple(_DRAWN)
"""The pictures that there are of a comparison, by name."""

# In inches: room above for a title, below for the axis, and the least that is drawn in.
_ABOVE, _BELOW, _LEAST, _LEFT = 0.85, 0.65, 3.9, 0.75


def pictures_of(comparison: Comparison) -> tuple[str, ...]:
    """Those of `PICTURES` that `comparison` has anything to show in."""
    measured = any(arm.accuracy or arm.loss for arm in comparison.arms)
    curves = any(any(arm.curves) for arm in comparison.arms)
    return tuple(name for name in PICTURES if (measured if name == _MEMORY else curves))


def draw(comparison: Comparison, *which: str) -> Figure:
    """The pictures `which`, one below the other; each has to be one of `pictures_of`."""
    with styled():
        height = max(_LEAST, 1.3 * SIZE / 72 * len(comparison.arms))
        whole = len(which) * (_ABOVE + height + _BELOW)
        figure = Figure(figsize=(WIDTH, whole), dpi=DPI)
        FigureCanvasAgg(figure)
        for row, name in enumerate(which):
            width = WIDTH - _LEFT - _right(figure, comparison, name)
            bottom = whole - (row + 1) * (_ABOVE + height + _BELOW) + _BELOW
            axes = figure.add_axes((_LEFT / WIDTH, bottom / whole, width / WIDTH, height / whole))
            _DRAWN[name](axes, comparison)
        return figure


def _right(figure: Figure, comparison: Comparison, name: str) -> float:
    """The inches that the names right of a picture take."""
    named = [
        label_text(arm.name) + " 00.0 ↓" * (name == _MEMORY)
        for arm in comparison.arms
        if (arm.peak_memory_bytes is None if name == _MEMORY else any(arm.curves))
    ]
    return _widest(figure, named) + 0.75 if named else 0.25


def _widest(figure: Figure, names: list[str]) -> float:
    """The width of the widest name, in inches."""
    texts = [figure.text(0, 0, name, fontsize=SIZE) for name in names]
    width = max((text.get_window_extent().width for text in texts), default=0.0) / DPI
    for text in texts:
        text.remove()
    return width
