"""Records as rows of scalars, for data frames, and as short tables, for notebooks.

`pandas.DataFrame(report.to_rows())` and `polars.DataFrame(report.to_rows())` work as they stand.
Columns are called what the record's fields are called, with a dot for each step down
(`spectrum.max`), and all rows of a record have the same ones.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from html import escape
from typing import Any

Scalar = str | int | float | bool | None
Row = dict[str, Scalar]

_SHOWN = 5
"""Rows that a notebook shows of each end of a table."""

_FEW = 3
"""Items that a plain repr spells out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a notebook shows of a record."""

    title: str
    """What the record is, in one line."""
    columns: tuple[str, ...]
    """What the columns hold."""
    number: int
    """How many rows there are."""
    row: Callable[[int], Sequence[str]]
    """The row at an index, as text; only those that are shown are made."""
    numeric: int = 0
    """How many of the last columns hold figures, and are aligned to the right."""


class Tabular(ABC):
    """A record that data frames take rows from, and that notebooks show as a table."""

    __slots__ = ()

    @abstractmethod
    def to_rows(self) -> list[Row]:
        """The record as rows of scalars, for `pandas.DataFrame` and its like."""

    @abstractmethod
    def _preview(self) -> Preview:
        """What a notebook shows of it."""

    def _repr_html_(self) -> str:
        """The first and the last rows as HTML, by the protocol of IPython."""
        return to_html(self._preview())

    def __repr__(self) -> str:
        """What a dataclass shows of itself, with what is long left out."""
        shown = (f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(shown)})"


def part(prefix: str, value: Any, kind: type[Any], *, leave_out: Collection[str] = ()) -> Row:
    """The scalar fields of `value`, a dataclass of this kind, or null for each if it is null."""
    names = [f.name for f in fields(kind) if f.name not in leave_out]
    return {f"{prefix}.{name}": None if value is None else getattr(value, name) for name in names}


def to_html(preview: Preview) -> str:
    """`preview` as a table that needs nothing around it; every text in it is escaped."""
    number, width = preview.number, len(preview.columns)
    left = width - preview.numeric
    head = "".join(
        f'<th style="text-align:{"left" if i < left else "right"}">{_text(column)}</th>'
        for i, column in enumerate(preview.columns)
    )

    def line(index: int) -> str:
        cells = preview.row(index)
        return "".join(
            f'<td style="text-align:{"left" if i < left else "right"}">{_text(cell)}</td>'
            for i, cell in enumerate(cells)
        )

    first = range(min(_SHOWN, number))
    last = range(max(len(first), number - _SHOWN), number)
    lines = [f"<tr>{line(i)}</tr>" for i in first]
    if hidden := number - len(first) - len(last):
        more = f"{hidden:,} more row{'' if hidden == 1 else 's'}"
        lines.append(f'<tr><td colspan="{width}" style="text-align:left">{more}</td></tr>')
    lines += [f"<tr>{line(i)}</tr>" for i in last]
    # Notebooks typeset what stands between dollar signs, which a tensor's name may hold.
    return (
        '<div class="tex2jax_ignore mathjax_ignore">'
        f"<p><strong>{_text(preview.title, 300)}</strong></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _text(text: str, limit: int = 100) -> str:
    """`text` as HTML: on one line, invisible characters spelt out, its middle cut if it is long."""
    half = (limit - 3) // 2
    cut = text if len(text) <= limit else f"{text[:half]}...{text[-half:]}"
    return escape("".join(c if c.isprintable() else repr(c)[1:-1] for c in cut))


def _short(value: object) -> str:
    if isinstance(value, tuple | dict) and len(value) > _FEW:
        return f"<{len(value):,} items>"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
