"""A diff's record, where the user reads it."""

from typing import TYPE_CHECKING

from spectrum_ft.errors import OutputError
from spectrum_ft.records.diffs import ScanDiff
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given, formats
from spectrum_ft_reports.diffs.terminal import print_diff
from spectrum_ft_reports.diffs.views import LISTED, diff_view

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_diff(diff: ScanDiff, *, limit: int = LISTED) -> None:
    """Print a diff on standard output."""
    print_diff(ReportConsole(), diff_view(diff, limit=limit))


def show(diff: ScanDiff, given: Given) -> None:
    """Print a diff on standard output."""
    show_diff(diff)


def _markdown(diff: ScanDiff, given: Given) -> str:
    from spectrum_ft_reports.diffs.markdown import diff_markdown

    return diff_markdown(diff_view(diff))


def _page(diff: ScanDiff, given: Given) -> str:
    from spectrum_ft_reports.diffs.page import diff_page

    return diff_page(diff, source=given.source)


def _picture(diff: ScanDiff, given: Given) -> "Figure":
    """All pictures below each other."""
    from spectrum_ft_reports.diffs.pictures import draw, pictures_of

    which = pictures_of(diff)
    if not which:
        raise OutputError(
            "there is nothing to draw: no matrix within the blocks differs",
            "a diff of models that differ is needed",
        )
    return draw(diff, *which)


FORMATS: Formats = formats(page=_page, markdown=_markdown, picture=_picture)
"""The files that a diff is written to."""
