"""An evaluation's record, where the user reads it."""

from spectrum_ft.records.evaluations import Evaluation
from spectrum_ft_cli.show import ReportConsole
from spectrum_ft_reports.evaluations.views import evaluation_facts
from spectrum_ft_reports.parts.terminal import print_facts


def show_evaluation(evaluation: Evaluation) -> None:
    """Print how a model did on standard output."""
    print_facts(ReportConsole(highlight=False), evaluation_facts(evaluation))
