"""A record as the user gave it, and what was said about how to show it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spectrum_ft.forecasting.training_shape import TrainingShape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spectrum_ft_reports.pages.masthead import Source


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

    @property
    def source(self) -> "Source":
        """What a page says that it was made from."""
        from spectrum_ft_reports.pages.masthead import Source

        return Source(name=self.folder or self.path, digest=self.digest)


Formats = Mapping[str, Callable[[Any, Given], str | bytes]]
"""How a record is written to a file, by what the file's name ends in."""


def formats(
    *,
    page: Callable[[Any, Given], str],
    markdown: Callable[[Any, Given], str],
    picture: "Callable[[Any, Given], Figure] | None" = None,
) -> Formats:
    """The files that a kind of record is written to; without `picture` there are none of that."""
    drawn = {suffix: _drawn(picture, suffix) for suffix in (".png", ".svg")} if picture else {}
    return {".html": page, ".md": markdown, **drawn}


def _drawn(picture: "Callable[[Any, Given], Figure]", suffix: str) -> Callable[[Any, Given], bytes]:
    def write(record: Any, given: Given) -> bytes:
        from spectrum_ft_reports.drawing.files import picture_bytes

        return picture_bytes(picture(record, given), suffix)

    return write
