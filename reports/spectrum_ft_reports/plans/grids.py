"""The grid of a plan, kind by layer: what becomes of every tensor, at one look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.records.plans import Plan
from spectrum_ft.treatments.choices import Standing
from spectrum_ft.treatments.treatments import Row, Square, Treatment
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.plans import wording

MOST_ROWS, MOST_LAYERS = 64, 400
"""What of a model's kinds and layers is drawn; real ones have fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSquare:
    """One position."""

    column: int
    """Where it stands, from 0; what lies outside the blocks has a column of its own, the last."""
    treatment: Treatment
    """The most that happens to any of its tensors."""
    partly: bool
    """Whether something else happens to others of them."""
    title: str
    """What it stands for, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridRow:
    """One row."""

    label: str
    """The kind, or what the tensors are called."""
    is_kind: bool
    """Whether it is a kind of the blocks' matrices."""
    squares: tuple[GridSquare, ...]
    """Its positions, by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What becomes of every tensor, kind by layer."""

    layers: tuple[int, ...]
    """The layer of each column but the last."""
    has_outside: bool
    """Whether there is a last column, for what lies outside the blocks."""
    rows: tuple[GridRow, ...]
    """The rows."""
    partly: bool
    """Whether some position stands for tensors that are treated differently."""
    left_out: str
    """What is not drawn; empty for nothing."""


def grid_of(rows: Sequence[Row], plan: Plan, standing: Mapping[str, Standing]) -> Grid:
    """The grid of `rows`."""
    kinds = [row for row in rows if row.is_kind]
    drawn = [*kinds[:MOST_ROWS], *(row for row in rows if not row.is_kind)]
    every = sorted({unit.layer for row in drawn for unit in row.units if unit.layer is not None})
    layers = _with_holes(every)[:MOST_LAYERS]
    place = {layer: column for column, layer in enumerate(layers)}
    labels = wording.treatment_labels(plan)
    told = []
    for row in drawn:
        squares = row.squares
        told.append(
            GridRow(
                label=printable(row.label, 60),
                is_kind=row.is_kind,
                squares=tuple(
                    GridSquare(
                        column=len(layers) if layer is None else place[layer],
                        treatment=square.treatment,
                        partly=square.partly,
                        title=_title(row, layer, square, labels, standing),
                    )
                    for layer, square in squares.items()
                    if layer is None or layer in place
                ),
            )
        )
    return Grid(
        layers=tuple(layers),
        has_outside=any(unit.layer is None for row in drawn for unit in row.units),
        rows=tuple(told),
        partly=any(square.partly for row in told for square in row.squares),
        left_out=_left_out(len(kinds) - MOST_ROWS, len(every) - len(layers)),
    )


def _with_holes(layers: list[int]) -> list[int]:
    """`layers` with those between, where they make sense as a count of blocks."""
    if layers and layers[-1] < 2 * len(layers) + 8:
        return list(range(layers[-1] + 1))
    return layers


def _left_out(kinds: int, layers: int) -> str:
    told = [f"{kinds:,} more kinds"] * (kinds > 0) + [f"{layers:,} more layers"] * (layers > 0)
    return f"Not drawn: {' and '.join(told)}." if told else ""


def _title(
    row: Row,
    layer: int | None,
    square: Square,
    labels: Mapping[Treatment, str],
    standing: Mapping[str, Standing],
) -> str:
    where = "outside the blocks" if layer is None else f"layer {layer}"
    what = labels[square.treatment]
    tensors = sum(len(unit.names) for unit in square.units)
    if square.partly:
        reached = sum(u.reached for u in square.units if u.treatment == square.treatment)
        what = f"{reached:,} of {tensors:,} tensors: {what}"
    elif tensors > 1:
        what = f"{what}, {tensors:,} tensors"
    ranked = standing.get(square.units[0].names[0])
    scored = (
        f"; score {wording.score_text(ranked.value)}, rank {ranked.rank} of {ranked.of}"
        if ranked and len(square.units) == 1
        else ""
    )
    return f"{printable(row.label, 60)}, {where}: {what}{scored}"
