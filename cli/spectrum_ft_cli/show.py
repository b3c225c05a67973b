"""Results on standard output, and commands to copy."""

import shlex

from rich.console import Console

from spectrum_ft.memory import TrainingShape
from spectrum_ft.planning.making import Planned
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.scans import ScanReport
from spectrum_ft_reports.scans.terminal import print_scan
from spectrum_ft_reports.scans.views import scan_view


class ReportConsole(Console):
    """A console whose reader may go away: the program decides what that means, not rich."""

    def on_broken_pipe(self) -> None:
        raise  # rich calls this where it caught the BrokenPipeError


def show_scan(
    report: ScanReport,
    planned: Planned | None,
    *,
    memory: tuple[Forecast, TrainingShape] | None = None,
    with_matrices: bool = False,
) -> None:
    """Print a scan, and what `planned` takes of it, on standard output."""
    console = ReportConsole(highlight=False)
    view = scan_view(report, planned, memory=memory, with_matrices=with_matrices)
    print_scan(console, view)


def command_to_copy(*words: str) -> str:
    """A command line that a shell takes as it stands; quoted only where that is needed."""
    return shlex.join(words).replace("'25%'", "25%")
