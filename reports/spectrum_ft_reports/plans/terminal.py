"""A plan on a terminal, from 60 columns up, with and without colour and Unicode."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from spectrum_ft.treatments.treatments import TREATMENTS, Treatment
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.terminal import (
    CHOSEN,
    LEFT,
    Wanted,
    print_facts,
    print_table,
    say,
    shown,
    speaks_unicode,
)
from spectrum_ft_reports.plans.grids import GridRow
from spectrum_ft_reports.plans.memory import MemoryView
from spectrum_ft_reports.plans.views import PlanView

_SIGNS: Mapping[Treatment, tuple[str, str]] = {
    "train": ("█", "T"),
    "adapter": ("▒", "a"),
    "packed": ("░", "q"),
    "frozen": ("·", "."),
}
"""The sign of each treatment, and that where there is no Unicode."""

_STYLES: Mapping[Treatment, str] = {"train": CHOSEN, "adapter": "magenta", "frozen": LEFT}
_MOST_CELLS, _LEAST_CELLS = 80, 8
_BAR = 24

_COLUMNS = (
    Wanted("kind", "kind"),
    Wanted("of", "of", 4),
    Wanted("train", "train"),
    Wanted("adapters", "adapter"),
    Wanted("packed", "packed"),
    Wanted("as is", "frozen", 5),
    Wanted("weights", "weights", 2),
    Wanted("trained", "trained", 1),
    Wanted("cut", "cut", 3),
)


def print_plan(console: Console, view: PlanView) -> None:
    """Print what a plan does to the model, kind by layer and in numbers, and what it takes."""
    say(console, view.title, style="bold")
    say(console, view.verdict)
    for caution in view.cautions:
        say(console, f"Note: {caution}")
    console.print()
    _print_grid(console, view)
    console.print()
    _print_kinds(console, view)
    if view.memory is not None:
        console.print()
        _print_memory(console, view.memory)
    console.print()
    print_facts(console, [*view.facts, Fact("next", view.next_command)])


def _print_grid(console: Console, view: PlanView) -> None:
    grid = view.grid
    width = max(1, console.width)
    named = max((cell_len(shown(console, row.label)) for row in grid.rows), default=0)
    named = min(named, max(4, width - _LEAST_CELLS - 4), 32)
    room = max(1, min(_MOST_CELLS, width - named - 2 - 2 * grid.has_outside))
    bins = min(room, len(grid.layers))
    last = f"layer {grid.layers[0]} to {grid.layers[-1]}" if grid.layers else ""
    steps = f", in {bins} steps" if bins < len(grid.layers) else ""
    outside = "last column: outside the blocks" if grid.has_outside and grid.layers else ""
    say(console, "; ".join(filter(None, (last + steps, outside))) or "outside the blocks", LEFT)
    for row in grid.rows:
        line = Text(no_wrap=True)
        label = Text(shown(console, row.label))
        label.truncate(named, overflow="ellipsis" if speaks_unicode(console) else "crop")
        line.append(label)
        line.append(" " * (named - cell_len(label.plain) + 2))
        line.append(_signs(console, row, len(grid.layers), bins))
        if grid.has_outside:
            line.append(" ")
            line.append(_sign(console, _at(row).get(len(grid.layers))))
        line.rstrip()
        line.truncate(width)
        console.print(line)
    legend = [
        f"{_SIGNS[item.treatment][not speaks_unicode(console)]} {item.label}"
        for item in view.legend
    ]
    notes = ["; ".join(legend)]
    if grid.partly or bins < len(grid.layers):
        notes.append("Where several share a place, it shows the most that happens to any of them.")
    notes += [grid.left_out] * bool(grid.left_out)
    for note in notes:
        say(console, note, LEFT)


def _at(row: GridRow) -> dict[int, Treatment]:
    return {square.column: square.treatment for square in row.squares}


def _signs(console: Console, row: GridRow, layers: int, bins: int) -> Text:
    """The row by layer, neighbours joined where there is no room for each."""
    at = _at(row)
    text = Text()
    for i in range(bins):
        columns = range(i * layers // bins, (i + 1) * layers // bins)
        found = [at[column] for column in columns if column in at]
        text.append(_sign(console, min(found, key=TREATMENTS.index) if found else None))
    return text


def _sign(console: Console, treatment: Treatment | None) -> Text:
    if treatment is None:
        return Text(" ")
    return Text(_SIGNS[treatment][not speaks_unicode(console)], _STYLES.get(treatment, ""))


def _print_kinds(console: Console, view: PlanView) -> None:
    empty = {
        column.field
        for column in _COLUMNS
        if column.field != "kind" and all(getattr(row, column.field) == "-" for row in view.kinds)
    }
    wanted = [column for column in _COLUMNS if column.field not in empty]
    hidden = print_table(console, wanted, view.kinds)
    notes = [view.units_note] * bool(view.units_note)
    if "cut" not in {*hidden, *empty}:
        notes.append(f"cut: the {view.score} of the last one taken | of the first one left.")
    if hidden:
        notes.append(f"No room here for: {', '.join(hidden)}.")
    for note in notes:
        say(console, note, LEFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    """A line of the memory's table."""

    name: str
    """What the memory is for."""
    size: str
    """How much."""
    share: str
    """Of the whole."""
    bar: str
    """The same, drawn."""


def _print_memory(console: Console, memory: MemoryView) -> None:
    say(console, f"Memory: {memory.total} on {memory.device} {memory.moment}, for {memory.tokens}")
    sign = "█" if speaks_unicode(console) else "#"
    rows = [
        _Bar(name=part.name, size=part.size, share=part.share, bar=_drawn(part.width, sign))
        for part in memory.parts
    ]
    rows.append(_Bar(name="total", size=memory.total, share="100.0 %", bar=""))
    if memory.budget:
        bar = _drawn(memory.budget_at, "─" if speaks_unicode(console) else "-")
        rows.append(_Bar(name="planned for", size=memory.budget, share="", bar=bar))
    print_table(
        console,
        [
            Wanted("part", "name"),
            Wanted("size", "size"),
            Wanted("share", "share", 1),
            Wanted("", "bar", 2, left=True),
        ],
        rows,
    )
    say(console, f"{memory.settings}. {memory.note}", LEFT)


def _drawn(width: float, sign: str) -> str:
    return sign * (max(1, round(_BAR * width)) if width > 0.0 else 0)
