"""An evaluation's record, where the user reads it."""

from spectrum_ft.records.evaluations import Evaluation
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given, formats
from spectrum_ft_reports.evaluations.terminal import print_evaluation
from spectrum_ft_reports.evaluations.views import evaluation_view


def show_evaluation(evaluation: Evaluation) -> None:
    """Print how a model did on standard output."""
    print_evaluation(ReportConsole(), evaluation_view(evaluation))


def show(evaluation: Evaluation, given: Given) -> None:
    """Print how a model did on standard output."""
    show_evaluation(evaluation)


def _html(evaluation: Evaluation, given: Given) -> str:
    from spectrum_ft_reports.evaluations.page import evaluation_page

    return evaluation_page(evaluation, source=given.source)


def _markdown(evaluation: Evaluation, given: Given) -> str:
    from spectrum_ft_reports.evaluations.markdown import evaluation_markdown

    return evaluation_markdown(evaluation_view(evaluation))


FORMATS: Formats = formats(page=_html, markdown=_markdown)
"""The files that an evaluation is written to."""
