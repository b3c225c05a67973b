"""An evaluation as a page."""

from dataclasses import replace

from spectrum_ft.records.evaluations import Evaluation
from spectrum_ft_reports.evaluations.views import evaluation_view
from spectrum_ft_reports.pages.masthead import Masthead, Source, making
from spectrum_ft_reports.pages.rendering import render
from spectrum_ft_reports.parts.facts import Fact


def evaluation_page(evaluation: Evaluation, *, source: Source) -> str:
    """The page of `evaluation`."""
    view = evaluation_view(evaluation)
    made = making(
        command=evaluation.command,
        schema=evaluation.schema,
        source=source,
        environment=evaluation.environment,
    )
    return render(
        "evaluation.html",
        head=Masthead(
            kind="evaluation",
            title=view.title,
            verdict=view.verdict,
            figures=view.figures,
            cautions=view.cautions,
        ),
        made=replace(made, facts=(Fact("seed", f"{evaluation.settings.seed}"), *made.facts)),
        view=view,
    )
