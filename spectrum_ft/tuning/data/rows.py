"""Rows of training data under standard names, each with the place that it came from."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from spectrum_ft.errors import DataError, few_names

FIELDS = (
    "messages",
    "conversations",
    "prompt",
    "completion",
    "instruction",
    "input",
    "output",
    "text",
    "tools",
)
"""The column names that mean something; any other column is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One example as its file spells it."""

    place: str
    """Where it stands, for messages: `train.jsonl, line 17`."""
    values: Mapping[str, Any]
    """What it holds under the names in `FIELDS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A whole data set in memory."""

    source: str
    """The file or Hub id, as the user named it."""
    digest: str
    """SHA-256 of the file's bytes; for the Hub, what `datasets` calls the set's fingerprint."""
    entries: tuple[Row, ...]
    """The rows in the order of the file; at least one."""
    mapped: frozenset[str]
    """The names in `FIELDS` that the user gave to columns of another name."""
    unused: tuple[str, ...]
    """The columns that mean nothing here, in the order in which they were met."""


Placed = Iterable[tuple[str, Mapping[str, Any]]]
"""Rows as a reader finds them: a place, and the values by column."""


def gather_rows(found: Placed, source: str, digest: str, columns: Mapping[str, str]) -> Rows:
    """All rows that a reader finds, columns renamed as `columns` says (file's name to ours).

    Raises `DataError` if there is no row, or if `columns` names what does not exist.
    """
    check_targets(columns)
    displaced = set(columns.values())
    kept = {name: name for name in FIELDS if name not in displaced} | dict(columns)
    met: dict[str, None] = {}
    entries = []
    for place, values in found:
        met |= dict.fromkeys(values)
        named = {kept[name]: value for name, value in values.items() if name in kept}
        entries.append(Row(place=place, values=named))
    if not entries:
        raise DataError(f"{source}: it holds no examples", "give a file with at least one")
    for name in columns:
        if name not in met:
            raise DataError(
                f"{source}: it has no column {ascii(name)[:80]}", _nearest(name, list(met))
            )
    return Rows(
        source=source,
        digest=digest,
        entries=tuple(entries),
        mapped=frozenset(columns.values()),
        unused=tuple(name for name in met if name not in kept),
    )


def without_nulls(value: Any) -> Any:
    """`value` without the nulls in its tables: columnar files write them for what is absent."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def check_targets(columns: Mapping[str, str]) -> None:
    """Raise `DataError` if `columns` maps to a name that means nothing, or two to one name."""
    for name, target in columns.items():
        if target not in FIELDS:
            raise DataError(
                f"column {ascii(name)[:80]} cannot become {ascii(target)[:80]}",
                _nearest(target, FIELDS),
            )
    if len(set(columns.values())) < len(columns):
        raise DataError(
            f"two columns are to become one ({few_names(sorted(columns))})",
            "map one column to each name",
        )


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {few_names(close)}?"
    listed = ", ".join(ascii(name)[1:-1][:40] for name in names[:9])
    return f"there are: {listed}{' ...' if len(names) > 9 else ''}"
