"""A training run's contract and its record, where the user reads them."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from spectrum_ft.errors import OutputError
from spectrum_ft.record_files import STDIN
from spectrum_ft.records.training import TrainRun
from spectrum_ft.tuning.runs.metrics import Metrics, read_metrics
from spectrum_ft.tuning.runs.run_folder import METRICS, RECORD
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given, formats
from spectrum_ft_cli.talk import Talk
from spectrum_ft_reports.parts.terminal import print_facts
from spectrum_ft_reports.runs.contracts import contract_facts, precision_warning
from spectrum_ft_reports.runs.terminal import print_run
from spectrum_ft_reports.runs.views import RunView, run_view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spectrum_ft.tuning.preparing import Prepared


def show_run(run: TrainRun, folder: str) -> None:
    """Print what came of a run, kept in `folder`, on standard output."""
    metrics = read_metrics(Path(folder, METRICS), run)
    print_run(ReportConsole(), run_view(run, folder, metrics))


def show_contract(prepared: "Prepared") -> None:
    """Print what a run would do on standard output."""
    _print_contract(ReportConsole(), prepared)


def say_contract(prepared: "Prepared", notes: Iterable[str], talk: Talk) -> None:
    """Say what a run is about to do, and the notes on it that its user should know."""
    if not talk.quiet:
        _print_contract(Console(stderr=True, highlight=False), prepared)
    for note in notes:
        talk.say(f"Note: {note}")
    if (warning := precision_warning(prepared.contract)) is not None:
        talk.say(f"Warning: {warning}.")


def _print_contract(console: Console, prepared: "Prepared") -> None:
    facts = contract_facts(prepared.contract, prepared.settings, prepared.data, prepared.eval_data)
    print_facts(console, facts)


def show(run: TrainRun, given: Given) -> None:
    """Print what came of a run on standard output."""
    print_run(ReportConsole(), _view(run, given))


def _view(run: TrainRun, given: Given) -> RunView:
    return run_view(run, _folder(given), _metrics(run, given))


def _folder(given: Given) -> str | None:
    """The folder of the run: the one that was named, or that of its record under its own name."""
    path = Path(given.path)
    return given.folder or (str(path.parent) if path.name == RECORD else None)


def _metrics(run: TrainRun, given: Given) -> Metrics:
    """How the run went, as the file beside its record tells."""
    if given.path == STDIN:
        return Metrics(steps=(), evaluations=(), fault="did not come by standard input")
    return read_metrics(Path(given.path).parent / METRICS, run)


def _html(run: TrainRun, given: Given) -> str:
    from spectrum_ft_reports.runs.page import run_page

    return run_page(run, _metrics(run, given), source=given.source, folder=_folder(given))


def _markdown(run: TrainRun, given: Given) -> str:
    from spectrum_ft_reports.runs.markdown import run_markdown

    return run_markdown(_view(run, given))


def _picture(run: TrainRun, given: Given) -> "Figure":
    """All pictures side by side."""
    from spectrum_ft_reports.runs.pictures import draw_all, pictures_of

    metrics = _metrics(run, given)
    if not pictures_of(run, metrics):
        raise OutputError(
            f"there is nothing to draw: {METRICS} {metrics.fault or 'tells of no step'}",
            "give the folder of the run, in which its metrics lie",
        )
    view = _view(run, given)
    return draw_all(run, metrics, title=view.title, verdict=view.verdict)


FORMATS: Formats = formats(page=_html, markdown=_markdown, picture=_picture)
"""The files that a run is written to."""
