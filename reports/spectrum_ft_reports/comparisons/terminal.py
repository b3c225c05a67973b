"""A comparison on a terminal, from 60 columns up, with and without colour and Unicode."""

from collections.abc import Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectrum_ft_reports.comparisons.columns import INTERVALS, NONE
from spectrum_ft_reports.comparisons.contrast_views import ContrastGroup
from spectrum_ft_reports.comparisons.views import ComparisonView, CourseRow, PlaceRow
from spectrum_ft_reports.parts.fitted_tables import Column, Entry, fit
from spectrum_ft_reports.parts.sparklines import BLOCKS, DIGITS, Cell, binned, glyph
from spectrum_ft_reports.parts.terminal import print_facts

_MOST_CELLS = 40
_WIDEST_NAME = 24
_BEST, _LEFT = "bold", "dim"
_ASCII = str.maketrans({"–": "-", "→": "to", "×": "x", "·": "~", "─": "-", "−": "-", "…": "..."})


def print_comparison(console: Console, view: ComparisonView) -> None:
    """Print the table of a comparison, its verdict, and what stands behind it."""
    page = _Page(console)
    page.say(view.title, style="bold")
    page.say(view.setting)
    page.skip()
    page.arms(view)
    page.listed("verdict", view.verdicts)
    seen = {title for group in view.contrasts for title in page.contrasts(group)}
    notes = [note.text for note in view.contrast_notes if seen.intersection(note.columns)]
    if notes:
        page.say(" ".join(notes), style=_LEFT)
        page.skip()
    page.courses(view.courses)
    page.places(view.places)
    page.listed("what differs", view.differences)
    print_facts(console, view.facts)


class _Page:
    """A console, with what it can show."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = max(1, console.width)
        self._unicode = (console.encoding or "").lower().startswith("utf")
        # Without colours there may be neither bold nor dim.
        self._marks = console.no_color or console.color_system is None

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(self._safe(text), style=style))

    def skip(self) -> None:
        self._console.print()

    def listed(self, heading: str, sentences: Sequence[str]) -> None:
        """A wrapped list, if there is anything in it."""
        if not sentences:
            return
        self.say(heading, style="bold")
        grid = Table.grid(padding=(0, 1))
        grid.add_column(style=_LEFT, no_wrap=True)
        grid.add_column(overflow="fold")
        for sentence in sentences:
            grid.add_row("-", Text(self._safe(sentence)))
        self._console.print(grid)
        self.skip()

    def arms(self, view: ComparisonView) -> None:
        """The table, and what its marks mean."""
        faded = [_LEFT if arm.dominated else "" for arm in view.arms]
        signs = any(arm.dominated for arm in view.arms) and self._marks
        names = [("· " if arm.dominated else "  ") * signs + arm.name for arm in view.arms]
        named = [Entry(name, style) for name, style in zip(names, faded, strict=True)]
        columns = [replace(self._column("arm", named), indent=2 * signs)]
        for column in view.columns:
            entries = [
                Entry(
                    figure.text,
                    f"{style} {_BEST if figure.best else ''}".strip(),
                    "*" if figure.best and self._marks else "",
                )
                for figure, style in zip(column.figures, faded, strict=True)
            ]
            columns.append(self._column(column.title, entries, rank=column.rank, folds=False))
        hidden = self._table(columns)
        best, dominated = ("*", "·") if self._marks else ("bold", "dim")
        notes = [f"{best}: best of its column"] if view.columns else []
        if view.domination:
            notes.append(f"{dominated}: {view.domination}")
        titles = {column.title for column in view.columns}
        if view.basis and INTERVALS & titles - set(hidden):
            notes.append(f"intervals of 95 %: {view.basis}")
        if hidden:
            notes.append(_no_room(hidden))
        self.say("; ".join(notes) or "no arm yet", style=_LEFT)
        self.skip()

    def contrasts(self, group: ContrastGroup) -> list[str]:
        """The answers in one metric; the titles of the columns that are shown.

        The finding is the answer and stays; the sentences of the verdict hold the other figures.
        """
        self.say(group.title, style="bold")
        rows = group.rows
        columns = [
            self._column("arm", [Entry(row.arm) for row in rows]),
            self._column("against", [Entry(row.against) for row in rows]),
            self._column("differs by", [Entry(row.difference) for row in rows], folds=False),
            self._column("95 % interval", [Entry(row.interval) for row in rows], 1, folds=False),
            self._column("p", [Entry(row.p) for row in rows], 2, folds=False),
            self._column("these models", [Entry(row.models) for row in rows], 3, folds=False),
            self._column("finding", [Entry(row.finding) for row in rows], folds=False, left=True),
        ]
        told = [c for c in columns if any(entry.text != self._safe(NONE) for entry in c.entries)]
        hidden = self._table(told)
        if hidden:
            self.say(_no_room(hidden), style=_LEFT)
        self.skip()
        return [column.title for column in told if column.title not in hidden]

    def courses(self, rows: Sequence[CourseRow]) -> None:
        """How training went."""
        if not rows:
            return
        self.say(
            "training loss, first seed: first step, course (own scale), mean of the last tenth"
        )
        room = self._sparkline_room([r.name for r in rows], [r.first + r.last for r in rows], 3)
        glyphs = BLOCKS if self._unicode else DIGITS
        self._table(
            [
                self._column("arm", [Entry(row.name) for row in rows]),
                self._column("first", [Entry(row.first) for row in rows], folds=False),
                self._column(
                    "course",
                    [
                        Entry("".join(glyph(cell, glyphs) for cell in binned(row.cells, room)))
                        for row in rows
                    ],
                    folds=False,
                    left=True,
                ),
                self._column("last", [Entry(row.last) for row in rows], folds=False),
            ]
        )
        self.skip()

    def places(self, rows: Sequence[PlaceRow]) -> None:
        """Where the matrices that train in full lie."""
        if not rows:
            return
        self.say("matrices that train in full, by block from the first one, all on one scale")
        room = self._sparkline_room([row.name for row in rows], [row.text for row in rows], 2)
        self._table(
            [
                self._column("arm", [Entry(row.name) for row in rows]),
                self._column(
                    "blocks",
                    [Entry(self._place_cells(row.cells, room)) for row in rows],
                    folds=False,
                    left=True,
                ),
                self._column(
                    "how many", [Entry(row.text) for row in rows], 1, folds=False, left=True
                ),
            ]
        )
        self.skip()

    def _place_cells(self, cells: Sequence[Cell], room: int) -> str:
        glyphs, none = (BLOCKS, "·") if self._unicode else (DIGITS, ".")
        return "".join(glyph(cell, glyphs) if cell.marked else none for cell in binned(cells, room))

    def _sparkline_room(self, names: Sequence[str], others: Sequence[str], gaps: int) -> int:
        name = min(_WIDEST_NAME, max(map(cell_len, names)))
        room = self._width - name - max(map(cell_len, others)) - 2 * gaps - 1
        return max(8, min(_MOST_CELLS, room))

    def _column(
        self,
        title: str,
        entries: Sequence[Entry],
        rank: int = 0,
        *,
        folds: bool = True,
        left: bool = False,
    ) -> Column:
        safe = tuple(entry._replace(text=self._safe(entry.text)) for entry in entries)
        marked = tuple(entry._replace(mark=self._safe(entry.mark)) for entry in safe)
        return Column(title=title, entries=marked, rank=rank, folds=folds, left=left)

    def _table(self, columns: Sequence[Column]) -> tuple[str, ...]:
        """Print the table of `columns`; the titles of those that found no room."""
        fitted = fit(columns, self._width, "─" if self._unicode else "-")
        for line in fitted.lines:
            self._console.print(line)
        return fitted.hidden

    def _safe(self, text: str) -> str:
        if self._unicode:
            return text
        return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def _no_room(hidden: Sequence[str]) -> str:
    """Which columns are left out."""
    return f"no room here for: {', '.join(hidden)}"
