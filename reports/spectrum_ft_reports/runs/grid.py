"""Which weights moved, by kind and layer, drawn."""

from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from spectrum_ft.records.training import TrainRun
from spectrum_ft.tuning.runs.metrics import Metrics
from spectrum_ft_reports.drawing.style import GREY
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.runs.movement import KindMovement, movement
from spectrum_ft_reports.runs.panels import MAIN, titled

_MOST_KINDS, _MOST_LAYERS, _MOST_COLUMNS = 24, 2_000, 128
_SHADES = 8
_PALEST = 0.15  # what did not move at all is seen to train


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a grid of kinds and layers has room for."""

    kinds: tuple[KindMovement, ...]
    """Its rows, from the top; empty where there is no grid."""
    layers: int
    """The layers along it."""
    joined: int
    """How many neighbouring layers share a column."""


def grid_of(run: TrainRun) -> Grid:
    """The grid of what lies in blocks; empty where there is too much, or the numbers are absurd."""
    kinds = tuple(kind for kind in movement(run) if kind.by_layer)
    last = max((max(kind.by_layer) for kind in kinds), default=-1)
    layers = max(last + 1, min(run.contract.layers, _MOST_LAYERS))
    if len(kinds) > _MOST_KINDS or layers > _MOST_LAYERS:
        return Grid(kinds=(), layers=0, joined=1)
    return Grid(kinds=kinds, layers=layers, joined=-(-layers // _MOST_COLUMNS))


def draw_moved(axes: Axes, run: TrainRun, metrics: Metrics) -> None:
    """Draw a cell for each kind and layer that trained: the darker, the more of it moved."""
    grid = grid_of(run)
    shades: dict[int, list[Path]] = {}
    for row, kind in enumerate(grid.kinds):
        columns: dict[int, list[float]] = {}
        for layer, share in kind.by_layer.items():
            columns.setdefault(layer // grid.joined, []).append(share)
        for column, found in columns.items():
            shades.setdefault(round(_SHADES * fmean(found)), []).append(_cell(column, row, grid))
    for shade, cells in shades.items():
        alpha = _PALEST + (1.0 - _PALEST) * shade / _SHADES
        shape = Path.make_compound_path(*cells)
        axes.add_patch(PathPatch(shape, facecolor=MAIN, edgecolor="none", alpha=alpha))
    axes.set_xlim(-0.5, grid.layers - 0.5)
    axes.set_ylim(len(grid.kinds) - 0.5, -0.5)
    names = [printable(kind.kind, 22) for kind in grid.kinds]
    size = 9.0 if len(names) <= 14 else 6.5
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(labelsize=9, axis="x")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xlabel("layer", fontsize=9.5)
    titled(axes, "Weights that moved")
    note = "the darker, the more of a matrix; empty: does not train"
    axes.annotate(
        note,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 8),
        textcoords="offset points",
        fontsize=9,
        color=GREY,
    )


def _cell(column: int, row: int, grid: Grid) -> Path:
    """The rectangle of some layers of a kind, with a gap around it where there is room."""
    gap = 0.06 if grid.layers <= 64 else 0.0
    left, right = column * grid.joined - 0.5 + gap, (column + 1) * grid.joined - 0.5 - gap
    right = min(right, grid.layers - 0.5)
    top, bottom = row - 0.42, row + 0.42
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return Path(corners, closed=True)
