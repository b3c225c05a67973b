"""A scan's record, where the user reads it."""

from typing import TYPE_CHECKING

from spectrum_ft.errors import OutputError, PlanError
from spectrum_ft.memory import TrainingShape
from spectrum_ft.planning.making import Planned, make_plan
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.scans import ScanReport
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given, formats
from spectrum_ft_reports.scans.terminal import print_scan
from spectrum_ft_reports.scans.views import scan_view

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plan_to_show(report: ScanReport) -> Planned | None:
    """The default plan, to mark in a scan's report what it would train; None if there is none."""
    try:
        return make_plan(report)
    except PlanError:
        return None


def show_scan(
    report: ScanReport,
    planned: Planned | None,
    *,
    memory: tuple[Forecast, TrainingShape] | None = None,
    with_matrices: bool = False,
) -> None:
    """Print a scan, and what `planned` takes of it, on standard output."""
    view = scan_view(report, planned, memory=memory, with_matrices=with_matrices)
    print_scan(ReportConsole(), view)


def show(report: ScanReport, given: Given) -> None:
    """Print a scan, and what the default plan takes of it, on standard output."""
    show_scan(report, plan_to_show(report), with_matrices=given.matrices)


def _page(report: ScanReport, given: Given) -> str:
    from spectrum_ft_reports.scans.page import scan_page

    return scan_page(report, plan_to_show(report), source=given.source)


def _markdown(report: ScanReport, given: Given) -> str:
    from spectrum_ft_reports.scans.markdown import scan_markdown

    return scan_markdown(report, plan_to_show(report), name=given.path)


def _picture(report: ScanReport, given: Given) -> "Figure":
    from spectrum_ft_reports.scans.pictures import draw_scan

    figure = draw_scan(report, name=given.path)
    if figure is None:
        raise OutputError(
            f"{given.path}: no matrix of this scan is in a layer, so there is nothing to draw",
            "write it as a page (.html) or as Markdown (.md)",
        )
    return figure


FORMATS: Formats = formats(page=_page, markdown=_markdown, picture=_picture)
"""The files that a scan is written to."""
