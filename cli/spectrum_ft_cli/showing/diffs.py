"""A diff's record, where the user reads it."""

from spectrum_ft.errors import OutputError
from spectrum_ft.records.diffs import ScanDiff
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given
from spectrum_ft_reports.diffs.terminal import print_diff
from spectrum_ft_reports.diffs.views import LISTED, diff_view


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
    from spectrum_ft_reports.pages.masthead import Source

    return diff_page(diff, source=Source(name=given.folder or given.path, digest=given.digest))


def _png(diff: ScanDiff, given: Given) -> bytes:
    return _picture(diff, ".png")


def _svg(diff: ScanDiff, given: Given) -> bytes:
    return _picture(diff, ".svg")


def _picture(diff: ScanDiff, suffix: str) -> bytes:
    """All pictures below each other."""
    from spectrum_ft_reports.diffs.pictures import draw, pictures_of
    from spectrum_ft_reports.drawing.files import picture_bytes

    which = pictures_of(diff)
    if not which:
        raise OutputError(
            "there is nothing to draw: no matrix within the blocks differs",
            "a diff of models that differ is needed",
        )
    return picture_bytes(draw(diff, *which), suffix)


FORMATS: Formats = {".html": _page, ".md": _markdown, ".png": _png, ".svg": _svg}
"""The files that a diff is written to."""
