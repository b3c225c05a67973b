"""A training run's contract and its record, where the user reads them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console

from spectrum_ft.records.training import TrainRun
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given
from spectrum_ft_cli.talk import Talk
from spectrum_ft_reports.parts.terminal import print_facts
from spectrum_ft_reports.runs.terminal import print_run
from spectrum_ft_reports.runs.views import contract_facts, precision_warning, run_view

if TYPE_CHECKING:
    from spectrum_ft.tuning.preparing import Prepared


def show_run(run: TrainRun, folder: str | None = None) -> None:
    """Print what came of a run, kept in `folder` where that is known, on standard output."""
    print_run(ReportConsole(), run_view(run, folder))


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
    show_run(run, given.folder)


FORMATS: Formats = {}
"""The files that a run is written to."""
