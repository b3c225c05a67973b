"""What a report says in few words: a fact a line, and the few figures that matter."""

from typing import NamedTuple


class Fact(NamedTuple):
    """One line of a report."""

    label: str
    """What it is about, in a word."""
    text: str
    """What there is to say."""


class KeyFigure(NamedTuple):
    """One of the three or four figures that matter."""

    label: str
    """What it is."""
    value: str
    """The figure, with its unit."""
    note: str = ""
    """What it is of, what to hold it against, or how sure it is."""
