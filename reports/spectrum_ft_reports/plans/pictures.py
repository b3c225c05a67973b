"""A plan in a picture: what becomes of every matrix, and the memory that training takes."""

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Patch, Rectangle
from matplotlib.transforms import ScaledTranslation

from spectrum_ft.treatments.treatments import Treatment
from spectrum_ft_reports.drawing.style import DPI, GREY, INK, WIDTH, entitle, label_text, styled
from spectrum_ft_reports.pages.theme import LIGHT
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.plans.grids import GridSquare
from spectrum_ft_reports.plans.memory import MemoryView
from spectrum_ft_reports.plans.views import PlanView

# In inches: a row of the grid, what stands above and below it, and the bar with its table.
_ROW, _ABOVE, _AXIS, _LEGEND, _MEMORY = 0.2, 0.85, 0.32, 0.3, 1.5
_RIGHT, _LEAST_LEFT, _SIZE = 0.25, 0.6, 9


def draw_plan(view: PlanView) -> Figure:
    """The grid of a plan, and below it the bar of its memory where that is known."""
    rows = max(1, len(view.grid.rows))
    below = _MEMORY if view.memory is not None else 0.0
    high = _ABOVE + rows * _ROW + _AXIS + _LEGEND + below
    with styled():
        figure = Figure(figsize=(WIDTH, high), dpi=DPI)
        FigureCanvasAgg(figure)
        left = _left(figure, [label_text(row.label) for row in view.grid.rows])
        box = (left / WIDTH, 1 - (_ABOVE + rows * _ROW) / high)
        axes = figure.add_axes((*box, 1 - (left + _RIGHT) / WIDTH, rows * _ROW / high))
        _draw_grid(axes, view)
        if view.memory is not None:
            width = 1 - (left + _RIGHT) / WIDTH
            bar = figure.add_axes((left / WIDTH, 0.42 / high, width, 0.32 / high))
            _draw_memory(bar, view.memory)
        return figure


def _left(figure: Figure, labels: list[str]) -> float:
    """The inches that the widest of `labels` takes."""
    texts = [figure.text(0, 0, label, fontsize=_SIZE) for label in labels]
    widest = max((text.get_window_extent().width for text in texts), default=0.0) / DPI
    for text in texts:
        text.remove()
    return max(_LEAST_LEFT, widest + 0.25)


def _draw_grid(axes: Axes, view: PlanView) -> None:
    grid = view.grid
    layers = len(grid.layers)
    columns = layers + 1.5 * grid.has_outside if layers else 1.0
    axes.set_xlim(0, max(columns, 12))
    axes.set_ylim(len(grid.rows), 0)
    for treatment in ("frozen", "packed", "adapter", "train"):
        found = [
            (square, place)
            for place, row in enumerate(grid.rows)
            for square in row.squares
            if square.treatment == treatment
        ]
        _draw_squares(axes, view, treatment, found, layers)
    axes.set_yticks(
        [place + 0.5 for place in range(len(grid.rows))],
        [label_text(row.label) for row in grid.rows],
        fontsize=_SIZE,
    )
    for text, row in zip(axes.get_yticklabels(), grid.rows, strict=True):
        text.set_color(INK if row.is_kind else GREY)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100) if layers <= 32 * s or s == 100)
    shown = list(range(0, layers, step))
    axes.set_xticks([c + 0.5 for c in shown], [str(grid.layers[c]) for c in shown], fontsize=_SIZE)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    apart = "; the last column is what lies outside the blocks" if grid.has_outside else ""
    entitle(axes, printable(view.title, 72), f"{_short(view)}\nby kind and layer{apart}")
    inches = axes.figure.dpi_scale_trans
    handles = [_handle(view, item.treatment, item.label) for item in view.legend]
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=axes.transAxes + ScaledTranslation(0, -_AXIS, inches),
        ncols=len(handles),
        frameon=False,
        fontsize=_SIZE,
        borderaxespad=0,
        handlelength=1.1,
    )


def _short(view: PlanView) -> str:
    return ", ".join(f"{figure.label} {figure.value}" for figure in view.figures)


def _draw_squares(
    axes: Axes,
    view: PlanView,
    treatment: Treatment,
    found: list[tuple[GridSquare, int]],
    layers: int,
) -> None:
    boxes, rings, outline = [], [], 0.08
    for square, place in found:
        x = square.column + (0.5 if square.column == layers and layers else 0.0)
        boxes.append(Rectangle((x + outline, place + outline), 1 - 2 * outline, 1 - 2 * outline))
        rings.append(Ellipse((x + 0.5, place + 0.5), 0.5, 0.5))
    face, edge, width = _look(view, treatment)
    axes.add_collection(
        PatchCollection(boxes, facecolor=face, edgecolor=edge, linewidth=width, zorder=2)
    )
    if treatment == "adapter":
        axes.add_collection(
            PatchCollection(
                rings, facecolor="white", edgecolor=LIGHT.adapted, linewidth=1.4, zorder=3
            )
        )


def _look(view: PlanView, treatment: Treatment) -> tuple[str, str, float]:
    """The face and the edge of a position, and how thick that is."""
    packed = _mixed(LIGHT.packed, LIGHT.paper, 0.38)
    if treatment == "train":
        return LIGHT.high, LIGHT.chosen, 1.4
    if treatment == "packed" or (treatment == "adapter" and view.packs):
        return packed, packed, 0.0
    return LIGHT.paper, LIGHT.frozen, 0.8


def _handle(view: PlanView, treatment: Treatment, label: str) -> Patch:
    face, edge, width = _look(view, treatment)
    if treatment == "adapter":
        edge, width = LIGHT.adapted, 1.4
    return Patch(facecolor=face, edgecolor=edge, linewidth=width, label=label)


def _mixed(one: str, other: str, share: float) -> str:
    pairs = zip(to_rgb(one), to_rgb(other), strict=True)
    return to_hex(tuple(share * a + (1 - share) * b for a, b in pairs))  # type: ignore[arg-type]


_SHADES = (1.0, 0.76, 0.46, 0.24, 0.1)
_DARK = 0.7


def _draw_memory(axes: Axes, memory: MemoryView) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for part, shade in zip(memory.parts, _SHADES, strict=True):
        face = _mixed(LIGHT.high, LIGHT.low, shade)
        axes.add_patch(
            Rectangle(
                (part.start, 0), part.width, 1, facecolor=face, edgecolor=LIGHT.high, linewidth=0.8
            )
        )
    _name_parts(axes, memory)
    if memory.budget:
        line = [[(memory.budget_at, -0.25), (memory.budget_at, 1.25)]]
        axes.add_collection(LineCollection(line, colors=LIGHT.chosen, linewidths=2, clip_on=False))
    planned = f", planned for {memory.budget} (line)" if memory.budget else ""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    entitle(
        axes,
        f"Memory: {memory.total}",
        f"forecast on {memory.device} {memory.moment}, for {memory.tokens}{planned}",
    )


def _name_parts(axes: Axes, memory: MemoryView) -> None:
    """Number the wide parts, and say below what the numbers stand for."""
    for number, part in enumerate(memory.parts, start=1):
        if part.width > 0.025:
            axes.text(
                part.start + part.width / 2,
                0.47,
                str(number),
                ha="center",
                va="center",
                fontsize=_SIZE,
                color="white" if _SHADES[number - 1] > _DARK else INK,
            )
    told = "    ".join(f"{n} {part.name} {part.size}" for n, part in enumerate(memory.parts, 1))
    axes.annotate(
        told,
        (0, 0),
        xycoords="axes fraction",
        xytext=(0, -8),
        textcoords="offset points",
        fontsize=_SIZE,
        color=INK,
        va="top",
    )
