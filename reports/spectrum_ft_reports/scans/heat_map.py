"""Where the cells of the heat map go: a row for each kind, a column for each layer.

Across, everything is in per cent of the room that there is; down, in pixels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.scans.explorer import START, Choice
from spectrum_ft_reports.scans.units import Unit

ROW = 24
"""Pixels from one row to the next."""

MOST_LAYERS, MOST_KINDS = 400, 60
"""What there is room for; a model of strange names can have more."""

_LEAST, _MOST = 7, 34  # pixels of a column
_PHONE = 220  # pixels that a phone leaves beside the kinds' names
_LABEL = 22  # pixels that a layer's number takes


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One unit's cell."""

    unit: int
    """The unit, by its place among `units_of`."""
    x: float
    """Where it begins, in per cent."""
    width: float
    """How wide it is, in per cent."""
    y: int
    """Where it begins, in pixels from the top."""
    height: int | None
    """How dark it is, from 0 to 100; None for a unit without a value."""
    is_lit: bool
    """Whether the share that is shown first takes it."""
    title: str
    """What it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A layer's number below the cells."""

    x: float
    """The middle of its column, in per cent."""
    text: str
    """The number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """The cells and what stands around them."""

    kinds: tuple[str, ...]
    """The rows' names, from the top."""
    cells: tuple[HeatCell, ...]
    """The cells."""
    ticks: tuple[Tick, ...]
    """The layers that are named."""
    columns: int
    """How many layers there is room for."""
    least_width: int
    """Pixels below which columns cannot be told apart."""
    most_width: int
    """Pixels above which cells would be bars."""
    height: int
    """Pixels of all rows."""
    left_out: str
    """What there was no room for; empty for nothing."""


def heat_map(units: Sequence[Unit], choice: Choice) -> HeatMap | None:
    """The heat map of the units that have a layer, as `choice` has them; None without any."""
    layers = sorted({unit.layer for unit in units if unit.layer is not None})
    if not layers:
        return None
    if layers[0] >= 0 and layers[-1] < MOST_LAYERS:
        layers = list(range(layers[-1] + 1))  # a layer without any of the kinds is a gap
    column = {layer: place for place, layer in enumerate(layers[:MOST_LAYERS])}
    kinds = list(dict.fromkeys(unit.kind for unit in units if unit.layer is not None))
    row = {kind: place for place, kind in enumerate(kinds[:MOST_KINDS])}
    sharing = Counter((unit.kind, unit.layer) for unit in units)
    pitch = 100.0 / len(column)
    seen = Counter[tuple[str, int | None]]()
    cells = []
    for place, unit in enumerate(units):
        if unit.layer not in column or unit.kind not in row:
            continue
        # Units of one kind and layer stand side by side in its place.
        spot = unit.kind, unit.layer
        part = pitch / sharing[spot]
        percent = choice.percents[place]
        cells.append(
            HeatCell(
                unit=place,
                x=round(column[unit.layer] * pitch + seen[spot] * part + 0.04 * pitch, 3),
                width=round(part - 0.08 * pitch, 3) if part > 0.1 * pitch else round(part, 3),
                y=row[unit.kind] * ROW + 2,
                height=choice.shade.heights[place],
                is_lit=percent is not None and percent <= START,
                title=cell_title(unit, choice, place),
            )
        )
        seen[spot] += 1
    return HeatMap(
        kinds=tuple(printable(kind, 60) for kind in row),
        cells=tuple(cells),
        ticks=_ticks(list(column), pitch),
        columns=len(column),
        least_width=_LEAST * len(column),
        most_width=max(_MOST * len(column), 2 * _LABEL),
        height=ROW * len(row),
        left_out=_left_out(len(layers) - len(column), len(kinds) - len(row)),
    )


def cell_title(unit: Unit, choice: Choice, place: int) -> str:
    """What a cell says: what it is, its score, and the share that takes it.

    The script writes it anew for another score: see `title` in explorer.js.
    """
    score, text = choice.shade.score, choice.shade.texts[place]
    percent = choice.percents[place]
    taken = f"from {percent} %" if percent is not None else "never chosen"
    value = f"{score} {text}" if text != "-" else f"no finite {score}"
    return f"{unit_title(unit)}\n{value}, {taken}"


def unit_title(unit: Unit) -> str:
    """A unit's kind and layer, and how many matrices it is."""
    layer = "" if unit.layer is None else f", layer {unit.layer}"
    many = len(unit.matrices)
    matrices = f", mean of {numbers.plural(many, 'matrix', 'matrices')}" if many > 1 else ""
    return f"{printable(unit.kind, 60)}{layer}{matrices}"


def _ticks(layers: Sequence[int], pitch: float) -> tuple[Tick, ...]:
    narrowest = max(float(_LEAST), _PHONE / len(layers))
    label = _LABEL if layers[-1] < 1000 else 3 * _LABEL
    step = next(
        step
        for power in range(6)
        for step in (10**power, 2 * 10**power, 5 * 10**power)
        if step * narrowest >= label
    )
    return tuple(
        Tick(x=round((place + 0.5) * pitch, 3), text=str(layer))
        for place, layer in enumerate(layers)
        if place % step == 0
    )


def _left_out(layers: int, kinds: int) -> str:
    parts = []
    if layers > 0:
        parts.append(numbers.plural(layers, "layer"))
    if kinds > 0:
        parts.append(numbers.plural(kinds, "kind"))
    return f"No room here for {' and '.join(parts)} more." if parts else ""
