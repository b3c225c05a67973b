"""A diff's record, where the user reads it."""

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


FORMATS: Formats = {".md": _markdown}
"""The files that a diff is written to."""
