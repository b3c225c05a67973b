"""An evaluation's record, where the user reads it."""

from spectrum_ft.records.evaluations import Evaluation
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given
from spectrum_ft_reports.evaluations.views import evaluation_facts
from spectrum_ft_reports.parts.terminal import print_facts


def show_evaluation(evaluation: Evaluation) -> None:
    """Print how a model did on standard output."""
    print_facts(ReportConsole(), evaluation_facts(evaluation))


def show(evaluation: Evaluation, given: Given) -> None:
    """Print how a model did on standard output."""
    show_evaluation(evaluation)


FORMATS: Formats = {}
"""The files that an evaluation is written to."""
