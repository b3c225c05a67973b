"""One fact a line: a label, and what there is to say."""

from typing import NamedTuple


class Fact(NamedTuple):
    """One line of a report."""

    label: str
    """What it is about, in a word."""
    text: str
    """What there is to say."""
