"""A finished run in pictures, each in a panel of one size, so that they stand side by side."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spectrum_ft.records.training import TrainRun
from spectrum_ft.tuning.runs.metrics import Metrics
from spectrum_ft_reports.drawing.style import DPI, styled
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


def pictures_of(run: TrainRun, metrics: Metrics) -> tuple[str, ...]:
    """Those of `PICTURES` that `run` and its course have anything to show in."""
    steps = metrics.steps
    shown = {
        "loss": bool(steps),
        "throughput": sum(s.tokens_per_second is not None for s in stretches(metrics, 100)) > 1,
        "memory": any(step.memory_bytes is not None for step in steps),
        "learning-rate": any(step.lr is not None or step.lora_lr is not None for step in steps),
        "moved": bool(grid_of(run).kinds),
    }
    return tuple(name for name in PICTURES if shown[name])


def draw(run: TrainRun, metrics: Metrics, *which: str) -> Figure:
    """The pictures `which`, two in a row; each has to be one of `pictures_of`."""
    columns = min(2, len(which))
    rows = -(-len(which) // 2)
    width, height = columns * _WIDTH, rows * _HEIGHT
    with styled():
        figure = Figure(figsize=(width, height), dpi=DPI)
        FigureCanvasAgg(figure)
        for place, name in enumerate(which):
            row, column = divmod(place, 2)
            left = column * _WIDTH + (_NAMES if name == "moved" else _LEFT)
            both = name == "learning-rate" and run.contract.trained and run.contract.adapters
            right = (column + 1) * _WIDTH - (_SECOND_SCALE if both else _RIGHT)
            bottom = height - (row + 1) * _HEIGHT + _BELOW
            tall = _HEIGHT - _ABOVE - _BELOW
            box = (left / width, bottom / height, (right - left) / width, tall / height)
            _DRAWN[name](figure.add_axes(box), run, metrics)
        return figure
