"""A plan as a page: what becomes of every matrix, and what training takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from spectrum_ft.records.plans import Plan
from spectrum_ft_reports.pages.masthead import Making, Masthead, Source, making
from spectrum_ft_reports.pages.rendering import render
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.plans.grids import Grid, GridSquare
from spectrum_ft_reports.plans.kinds import KindRow
from spectrum_ft_reports.plans.views import PlanView

# In pixels: what the rows of the grid are apart, what its columns may be, all the room that there
# is, and the most that a letter of a label and the longest label take of it.
_ROW, _LEAST, _MOST, _WIDTH = 20, 10, 26, 1045
_LETTER, _LABEL = 7.2, 420
_GAP = 2
_AXIS = 18

_COLUMNS = (
    ("of", "of"),
    ("train", "train"),
    ("adapters", "adapter"),
    ("packed", "packed"),
    ("as they are", "frozen"),
    ("weights", "weights"),
    ("trained", "trained"),
    ("cut", "cut"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A number on the axis of layers."""

    x: float
    """Where it stands."""
    text: str
    """The layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnGrid:
    """The grid, in pixels."""

    grid: Grid
    """What is drawn."""
    pitch: int
    """What its columns are apart."""
    row: int
    """What its rows are apart."""
    cell: tuple[int, int]
    """How wide and how high a position is."""
    width: int
    """How wide all of it is."""
    height: int
    """How high all of it is, its axis included."""
    ticks: tuple[Tick, ...]
    """The axis."""

    def x(self, square: GridSquare) -> int:
        """Where a position begins; what lies outside the blocks stands a little apart."""
        apart = self.pitch // 2 if self.grid.layers else 0
        return square.column * self.pitch + apart * (square.column == len(self.grid.layers))


def plan_page(plan: Plan, view: PlanView, *, source: Source) -> str:
    """The page of `plan`, whose view is `view`, read from `source`."""
    return render(
        "plan.html",
        head=Masthead(
            kind="plan",
            title=view.title,
            verdict=view.verdict,
            figures=view.figures,
            cautions=view.cautions,
        ),
        made=_made(plan, view, source),
        view=view,
        drawn=_drawn(view.grid),
        columns=_columns(view.kinds),
        treatments=[item.treatment for item in view.legend],
    )


def _made(plan: Plan, view: PlanView, source: Source) -> Making:
    made = making(command=plan.command, schema=plan.schema, source=source, environment=None)
    facts: tuple[Fact, ...] = (*view.facts_of_making, *made.facts)
    return Making(command=made.command, facts=facts)


def _drawn(grid: Grid) -> DrawnGrid:
    columns = len(grid.layers)
    label = min(_LABEL, _LETTER * max((len(row.label) for row in grid.rows), default=0))
    room = _WIDTH - label
    pitch = max(_LEAST, min(_MOST, int(room / (columns + 1.5 * grid.has_outside or 1.0))))
    outside = (pitch + pitch // 2 * (columns > 0)) * grid.has_outside
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100) if s * pitch >= 36 or s == 100)
    return DrawnGrid(
        grid=grid,
        pitch=pitch,
        row=_ROW,
        cell=(pitch - _GAP, _ROW - _GAP),
        width=columns * pitch + outside,
        height=len(grid.rows) * _ROW + _AXIS,
        ticks=tuple(
            Tick(x=column * pitch + (pitch - _GAP) / 2, text=str(layer))
            for column, layer in enumerate(grid.layers)
            if column % step == 0
        ),
    )


def _columns(rows: Sequence[KindRow]) -> list[tuple[str, str]]:
    """The columns of the table that have anything in them: titles and fields."""
    return [(t, f) for t, f in _COLUMNS if any(getattr(row, f) != "-" for row in rows)]
