"""A finished run in pictures, each in a panel of one size, so that they stand side by side."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spectrum_ft.records.training import TrainRun
from spectrum_ft.tuning.runs.metrics import Metrics
from spectrum_ft_reports.drawing.style import DPI, GREY, INK, styled
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.runs.grid import draw_moved, grid_of
from spectrum_ft_reports.runs.panels import draw_loss, draw_memory, draw_rates, draw_speed
from spectrum_ft_reports.runs.stretches import stretches

_DRAWN: dict[str, Callable[[Axes, TrainRun, Metrics], None]] = {
    "loss": draw_loss,
    "throughput": draw_speed,
    "memory": draw_memory,
    "learning-rate": draw_rates,
    "moved": draw_moved,
}

PICTURES = tuple(_DRAWN)
"""The pictures that there are of a run, by name."""

# In inches: a panel, what is left free around its axes, and room for the names of kinds.
_WIDTH, _HEIGHT = 5.4, 3.5
_ABOVE, _BELOW, _LEFT, _RIGHT = 0.75, 0.6, 0.8, 0.2
_NAMES, _SECOND_SCALE = 1.75, 0.85
_HEADING, _MARGIN = 0.75, 0.25

_LETTERS = 115
"""Letters of one point that an inch surely has room for."""


def pictures_of(run: TrainRun, metrics: Metrics) -> tuple[str, ...]:
    """Those of `PICTURES` that there is anything to show in; of one step there is no course."""
    steps = metrics.steps if len(metrics.steps) > 1 else ()
    shown = {
        "loss": bool(steps),
        "throughput": sum(s.tokens_per_second is not None for s in stretches(metrics, 100)) > 1,
        "memory": any(step.memory_bytes is not None for step in steps),
        "learning-rate": any(step.lr is not None or step.lora_lr is not None for step in steps),
        "moved": bool(grid_of(run).kinds),
    }
    return tuple(name for name in PICTURES if shown[name])


def draw(run: TrainRun, metrics: Metrics, name: str) -> Figure:
    """The picture `name`, one of `pictures_of`."""
    with styled():
        figure = _figure(_WIDTH, _HEIGHT)
        _panel(figure, run, metrics, name, left=0.0, top=_HEIGHT, width=_WIDTH)
        return figure


def draw_all(run: TrainRun, metrics: Metrics, *, title: str, verdict: str) -> Figure:
    """All of `pictures_of`, two in a row and an odd one as wide as both, under a heading."""
    which = pictures_of(run, metrics)
    width = 2 * _WIDTH
    height = -(-len(which) // 2) * _HEIGHT + _HEADING
    with styled():
        figure = _figure(width, height)
        heading = (title, 13.0, "bold", INK, 0.42), (verdict, 10.0, "normal", GREY, 0.68)
        for text, size, weight, colour, down in heading:
            shown = printable(text, int(_LETTERS * width / size))
            left, up = _MARGIN / width, 1.0 - down / height
            figure.text(left, up, shown, fontsize=size, fontweight=weight, color=colour)
        for place, name in enumerate(which):
            row, column = divmod(place, 2)
            alone = column == 0 and place == len(which) - 1
            _panel(
                *(figure, run, metrics, name),
                left=column * _WIDTH,
                top=height - _HEADING - row * _HEIGHT,
                width=width if alone else _WIDTH,
            )
        return figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def _panel(
    figure: Figure,
    run: TrainRun,
    metrics: Metrics,
    name: str,
    *,
    left: float,
    top: float,
    width: float,
) -> None:
    """Draw the picture `name` in the panel whose upper left corner is there, in inches."""
    both = name == "learning-rate" and run.contract.trained and run.contract.adapters
    before = _NAMES if name == "moved" else _LEFT
    room = width - before - (_SECOND_SCALE if both else _RIGHT)
    whole_width, whole_height = figure.get_size_inches()
    box = (
        (left + before) / whole_width,
        (top - _HEIGHT + _BELOW) / whole_height,
        room / whole_width,
        (_HEIGHT - _ABOVE - _BELOW) / whole_height,
    )
    _DRAWN[name](figure.add_axes(box), run, metrics)
