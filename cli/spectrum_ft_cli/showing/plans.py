"""A plan's record, where the user reads it."""

from spectrum_ft.records.plans import Plan
from spectrum_ft_cli.showing.given import Formats, Given


def show(plan: Plan, given: Given) -> None:
    """Print what a plan trains on standard output."""
    raise NotImplementedError


FORMATS: Formats = {}
"""The files that a plan is written to."""
