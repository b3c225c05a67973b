"""Tables that keep to a terminal's width: names are folded, and columns go, the least needed first.

rich's own tables cut or fold every column alike; here no figure is ever cut.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

_GAP = 2
_NARROW = 12
"""The columns that a name is not folded below, while a figure can go instead."""
_PIECES = re.compile(
    r"(?:[^-:/. ]|(?<=[^-:/. ])-(?=[0-9]))+[-:/. ]*|[-:/. ]+"
)  # `spectrum-25` is one


class Entry(NamedTuple):
    """What stands in one place of a table."""

    text: str
    """The text."""
    style: str = ""
    """How it looks."""
    mark: str = ""
    """A sign right of it, at most one column wide, which stands in the gap between columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: names to the left, which fold, or figures to the right, which do not."""

    title: str
    """What it holds; its words may stand below each other."""
    entries: tuple[Entry, ...]
    """What it holds, from the top."""
    rank: int = 0
    """How soon it goes where there is no room: the highest first; 0 never does."""
    folds: bool = False
    """Whether it holds names."""
    left: bool = False
    """Whether it stands to the left; names always do."""
    indent: int = 0
    """How far the second line of a folded name stands to the right; the sign before it, if any."""

    @property
    def natural(self) -> int:
        """The width that it takes unfolded."""
        title = self.title.split() if not self.folds else [self.title]
        return max(map(cell_len, (*title, *(entry.text for entry in self.entries))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A table as it fits."""

    lines: tuple[Text, ...]
    """Its lines: header, rule, rows."""
    hidden: tuple[str, ...]
    """The titles of the columns that found no room."""


def fit(columns: Sequence[Column], width: int, rule: str) -> Fitted:
    """The table of `columns` in `width`, `rule` being what its rule is made of."""
    kept = list(columns)
    while _total(_narrowest(kept)) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    widths = _widths(kept, width)
    lines = [*_header(kept, widths), Text(rule * min(width, _total(widths)), style="dim")]
    for row in zip(*(column.entries for column in kept), strict=True):
        lines += _row(kept, widths, row)
    for line in lines:
        line.truncate(width)  # only where even one figure is too wide
    hidden = tuple(column.title for column in columns if column not in kept)
    return Fitted(lines=tuple(lines), hidden=hidden)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1) + 1  # the last mark


def _narrowest(columns: Sequence[Column]) -> list[int]:
    return [min(c.natural, _NARROW) if c.folds else c.natural for c in columns]


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    widths = _narrowest(columns)
    room = width - _total(widths)
    for index, column in enumerate(columns):
        if column.folds:
            change = max(4 - widths[index], min(column.natural - widths[index], room))
            widths[index] += change
            room -= change
    return widths


def _header(columns: Sequence[Column], widths: Sequence[int]) -> list[Text]:
    titles = [
        folded(column.title, width) if column.folds else _words(column.title, width)
        for column, width in zip(columns, widths, strict=True)
    ]
    height = max(map(len, titles))
    stacked = [[""] * (height - len(title)) + title for title in titles]
    return [
        _line(columns, widths, [Entry(title[index]) for title in stacked])
        for index in range(height)
    ]


def _words(title: str, width: int) -> list[str]:
    """The words of `title` on as few lines of `width` as they take."""
    lines = [""]
    for word in title.split():
        joined = f"{lines[-1]} {word}".lstrip()
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def _row(columns: Sequence[Column], widths: Sequence[int], row: Sequence[Entry]) -> list[Text]:
    texts = [
        _hanging(entry.text, width, column.indent) if column.folds else [entry.text]
        for column, width, entry in zip(columns, widths, row, strict=True)
    ]
    return [
        _line(
            columns,
            widths,
            [
                entry._replace(text=text[index], mark=entry.mark if index == 0 else "")
                if index < len(text)
                else Entry("")
                for text, entry in zip(texts, row, strict=True)
            ],
        )
        for index in range(max(map(len, texts)))
    ]


def _line(columns: Sequence[Column], widths: Sequence[int], entries: Sequence[Entry]) -> Text:
    line = Text(no_wrap=True)
    for column, width, entry in zip(columns, widths, entries, strict=True):
        space = " " * max(0, width - cell_len(entry.text))
        if column.folds or column.left:
            line.append(entry.text, style=entry.style)
            line.append(space)
        else:
            line.append(space)
            line.append(entry.text, style=entry.style)
        line.append(set_cell_size(entry.mark, _GAP))
    line.rstrip()
    return line


def _hanging(text: str, width: int, indent: int) -> list[str]:
    """A name whose first `indent` columns are a sign: folded, and what follows set below itself."""
    first, *rest = folded(text[indent:], max(1, width - indent))
    return [text[:indent] + first, *(" " * indent + line for line in rest)]


def folded(text: str, width: int) -> list[str]:
    """`text` on lines of at most `width` columns, broken after punctuation where that can be."""
    lines = [""]
    for piece in _PIECES.findall(text):
        if cell_len(lines[-1] + piece) <= width:
            lines[-1] += piece
        elif cell_len(piece) <= width:
            lines.append(piece)
        else:
            chopped = chop_cells(lines[-1] + piece, width)
            lines[-1:] = chopped
    return [line for line in lines if line] or [""]
