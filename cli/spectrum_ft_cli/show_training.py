"""A training run's contract and its record, where the user reads them."""

from typing import TYPE_CHECKING

from rich.console import Console

from spectrum_ft.train_records import TrainRun
from spectrum_ft_cli.show import _Console
from spectrum_ft_cli.talk import Talk
from spectrum_ft_reports.training_terminal import print_facts, print_run
from spectrum_ft_reports.training_views import contract_facts, precision_warning, run_view

if TYPE_CHECKING:
    from spectrum_ft.tuning.training import Training


def show_run(run: TrainRun, folder: str | None = None) -> None:
    """Print what came of a run, kept in `folder` where that is known, on standard output."""
    print_run(_Console(highlight=False), run_view(run, folder))


def show_contract(training: "Training") -> None:
    """Print what a run would do on standard output."""
    _print_contract(_Console(highlight=False), training)


def say_contract(training: "Training", talk: Talk) -> None:
    """Say what a run is about to do, and what to know before it starts."""
    if not talk.quiet:
        _print_contract(Console(stderr=True, highlight=False), training)
    for note in training.notes:
        talk.say(f"Note: {note}")
    if (warning := precision_warning(training.contract)) is not None:
        talk.say(f"Warning: {warning}.")


def _print_contract(console: Console, training: "Training") -> None:
    settings = training.folder.start.settings
    facts = contract_facts(training.contract, settings, training.data, training.eval_data)
    print_facts(console, facts)
