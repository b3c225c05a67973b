"""A scan's record, where the user reads it."""

from spectrum_ft.errors import PlanError
from spectrum_ft.memory import TrainingShape
from spectrum_ft.planning.making import Planned, make_plan
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.scans import ScanReport
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given
from spectrum_ft_reports.scans.terminal import print_scan
from spectrum_ft_reports.scans.views import scan_view


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


FORMATS: Formats = {}
"""The files that a scan is written to."""
