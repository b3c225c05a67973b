"""A record as the user gave it, and what was said about how to show it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spectrum_ft.forecasting.training_shape import TrainingShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A record as the user gave it, and what was said about how to show it."""

    path: str
    """The file that it was read from; `-` for standard input."""
    folder: str | None = None
    """The folder that it lies in, if that is what was named."""
    digest: str = ""
    """SHA-256 of the file."""
    matrices: bool = False
    """Whether every matrix of a scan is to be listed."""
    scan: str | None = None
    """The scan, or the model, that a plan is about; None to find it by the plan's own words."""
    shape: TrainingShape = field(default_factory=TrainingShape)
    """How a plan is going to be trained."""


Formats = Mapping[str, Callable[[Any, Given], str | bytes]]
"""How a record is written to a file, by what the file's name ends in."""
