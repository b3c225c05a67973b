"""A scan in a picture: its heat map, with what the default plan trains outlined."""

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spectrum_ft.records.scans import ScanReport
from spectrum_ft_reports.drawing.style import DPI, FAINT, GREY, WIDTH, label_text, styled
from spectrum_ft_reports.pages.theme import LIGHT
from spectrum_ft_reports.parts.titles import model_title
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.scans.explorer import START, Explorer, explorer
from spectrum_ft_reports.scans.heat_map import ROW, HeatCell, HeatMap, heat_map
from spectrum_ft_reports.scans.units import units_of

# In inches: a row, the room above for the title and below for the layers, left and right of all.
_ROW, _ABOVE, _BELOW, _MARGIN = 0.3, 1.0, 0.55, 0.2
_MOST_WIDTH = 0.42  # of a column
_SCALE = LinearSegmentedColormap.from_list("scores", [LIGHT.low, LIGHT.high])


def draw_scan(report: ScanReport, *, name: str) -> Figure | None:
    """The heat map of `report`, read from a file called `name`; None if no matrix has a layer."""
    units = units_of(report)
    explored = explorer(report, units, name, only_first=True)
    drawn = heat_map(units, explored.first)
    if drawn is None:
        return None
    with styled():
        rows = len(drawn.kinds)
        height = _ABOVE + rows * _ROW + _BELOW
        figure = Figure(figsize=(WIDTH, height), dpi=DPI)
        FigureCanvasAgg(figure)
        left = _widest(figure, drawn) + 2 * _MARGIN
        width = min(WIDTH - left - _MARGIN, _MOST_WIDTH * drawn.columns)
        axes = figure.add_axes((left / WIDTH, _BELOW / height, width / WIDTH, rows * _ROW / height))
        _fill(axes, drawn)
        title = printable(model_title(report.model), 68)
        _entitle(figure, title, _notes(explored, drawn), height)
        return figure


def _entitle(figure: Figure, title: str, notes: str, height: float) -> None:
    """Put a title and what to know above the kinds' names, which are wider than any axis."""
    x = _MARGIN / WIDTH
    figure.text(x, 1 - 0.2 / height, title, fontsize=13, fontweight="bold", va="top")
    figure.text(x, 1 - 0.47 / height, notes, fontsize=9, color=GREY, va="top", linespacing=1.35)


def _fill(axes: Axes, drawn: HeatMap) -> None:
    axes.set_xlim(0.0, 100.0)
    axes.set_ylim(len(drawn.kinds), 0.0)
    plain = [cell for cell in drawn.cells if not cell.is_lit]
    lit = [cell for cell in drawn.cells if cell.is_lit]
    outline = 1.8 if drawn.columns <= 48 else 1.2
    for cells, edge, width in ((plain, FAINT, 0.6), (lit, LIGHT.chosen, outline)):
        axes.add_collection(
            PatchCollection(
                [_patch(cell) for cell in cells],
                facecolor=[
                    LIGHT.paper if cell.height is None else _SCALE(cell.height / 100.0)
                    for cell in cells
                ],
                edgecolor=edge,
                linewidth=width,
                clip_on=False,
            )
        )
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    axes.set_yticks([row + 0.5 for row in range(len(drawn.kinds))], map(label_text, drawn.kinds))
    axes.set_xticks([tick.x for tick in drawn.ticks], [tick.text for tick in drawn.ticks])
    axes.set_xlabel("layer")


def _patch(cell: HeatCell) -> Rectangle:
    return Rectangle((cell.x, cell.y / ROW), cell.width, (ROW - 4) / ROW)


def _notes(explored: Explorer, drawn: HeatMap) -> str:
    first = explored.first
    notes = [f"{first.shade.score}, from the lowest of a kind (pale) to its highest (dark)"]
    if explored.can_plan:
        notes.append(f"outlined: what trains at {START} % of each kind")
    if drawn.left_out:
        notes[-1] += f"; {drawn.left_out}"
    return "\n".join(notes)


def _widest(figure: Figure, drawn: HeatMap) -> float:
    """The width of the widest kind, in inches."""
    texts = [figure.text(0, 0, label_text(kind)) for kind in drawn.kinds]
    width = max(text.get_window_extent().width for text in texts) / DPI
    for text in texts:
        text.remove()
    return width
