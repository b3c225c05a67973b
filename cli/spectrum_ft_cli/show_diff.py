"""A diff's record, where the user reads it: terminal, Markdown."""

from pathlib import Path

from spectrum_ft.errors import OutputError
from spectrum_ft.records.diffs import ScanDiff
from spectrum_ft.writing import write_file
from spectrum_ft_cli.show import ReportConsole
from spectrum_ft_reports.diffs.markdown import diff_markdown
from spectrum_ft_reports.diffs.terminal import print_diff
from spectrum_ft_reports.diffs.views import LISTED, diff_view

_MARKDOWN = (".md", ".markdown")


def show_diff(diff: ScanDiff, *, limit: int = LISTED) -> None:
    """Print a diff on standard output."""
    print_diff(ReportConsole(highlight=False), diff_view(diff, limit=limit))


def write_diff(diff: ScanDiff, output: Path, *, force: bool) -> None:
    """Write a diff to `output` as Markdown; `OutputError` for a name that ends otherwise."""
    if output.suffix.lower() not in _MARKDOWN:
        raise OutputError(
            f"{output}: no kind of report that there is of a diff",
            f"end its name in {_MARKDOWN[0]}",
        )
    write_file(output, diff_markdown(diff_view(diff)), force=force)
