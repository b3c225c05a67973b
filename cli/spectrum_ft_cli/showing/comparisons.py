"""A comparison's record, where the user reads it."""

from pathlib import Path
from typing import TYPE_CHECKING

from spectrum_ft.errors import OutputError
from spectrum_ft.records.comparisons import Comparison
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given, formats
from spectrum_ft_reports.comparisons.terminal import print_comparison
from spectrum_ft_reports.comparisons.views import comparison_view

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_comparison(comparison: Comparison, folder: str | None = None) -> None:
    """Print a comparison, kept in `folder` where that is known, on standard output."""
    print_comparison(ReportConsole(), comparison_view(comparison, folder))


def show(comparison: Comparison, given: Given) -> None:
    """Print a comparison on standard output."""
    show_comparison(comparison, given.folder)


def draw_pictures(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw every picture that `comparison` has anything to show in, into its own `folder`.

    Pictures from before are replaced, as its record is.
    """
    from spectrum_ft.writing import write_file
    from spectrum_ft_reports.comparisons.pictures import draw, pictures_of
    from spectrum_ft_reports.drawing.files import picture_bytes

    paths = []
    for name in pictures_of(comparison):
        paths.append(folder / f"{name}.png")
        write_file(paths[-1], picture_bytes(draw(comparison, name), ".png"), force=True)
    return paths


def _markdown(comparison: Comparison, given: Given) -> str:
    from spectrum_ft_reports.comparisons.markdown import comparison_markdown

    return comparison_markdown(comparison_view(comparison))


def _page(comparison: Comparison, given: Given) -> str:
    from spectrum_ft_reports.comparisons.page import comparison_page

    return comparison_page(comparison, source=given.source)


def _picture(comparison: Comparison, given: Given) -> "Figure":
    """All pictures below each other."""
    from spectrum_ft_reports.comparisons.pictures import draw, pictures_of

    which = pictures_of(comparison)
    if not which:
        raise OutputError(
            "there is nothing to draw: no arm was trained or measured",
            "a comparison with results is needed",
        )
    return draw(comparison, *which)


FORMATS: Formats = formats(page=_page, markdown=_markdown, picture=_picture)
"""The files that a comparison is written to."""
