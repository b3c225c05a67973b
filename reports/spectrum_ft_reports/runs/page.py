"""A finished run as a page."""

from dataclasses import replace

from markupsafe import Markup

from spectrum_ft.records.training import TrainRun
from spectrum_ft.tuning.runs.metrics import Metrics
from spectrum_ft_reports.pages.figures import inline_svg
from spectrum_ft_reports.pages.masthead import Masthead, Source, making
from spectrum_ft_reports.pages.rendering import render
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.runs.pictures import draw, pictures_of
from spectrum_ft_reports.runs.views import RunView, run_view

_MOVED = "moved"

_TOLD = {
    "loss": (
        "Loss by step",
        "The training loss of each step, its moving mean, and the held-out loss where it was "
        "measured. The table below gives the figures.",
    ),
    "throughput": (
        "Tokens a second by step",
        "The tokens that passed through the model each second. The table below gives the figures.",
    ),
    "memory": (
        "Memory by step",
        "The largest memory in use up to each step, against what was forecast. The table below "
        "gives the figures.",
    ),
    "learning-rate": (
        "Learning rate by step",
        "The learning rate of each step. The table below gives the figures.",
    ),
    _MOVED: (
        "Weights that moved, by kind and layer",
        "A cell for each matrix that trained in full, the darker the more of its weights differ "
        "from the base. The table beside it gives the figures by kind.",
    ),
}
"""The title of each picture, and what it shows, for who cannot see it."""


def run_page(run: TrainRun, metrics: Metrics, *, source: Source, folder: str | None) -> str:
    """The page of `run`, which went as `metrics` tell and is kept in `folder` if that is known."""
    view = run_view(run, folder, metrics)
    made = making(
        command=run.command, schema=run.schema, source=source, environment=run.environment
    )
    pictures = {name: _picture(run, metrics, name) for name in pictures_of(run, metrics)}
    return render(
        "run.html",
        head=_masthead(view),
        made=replace(made, facts=(Fact("seed", f"{run.settings.seed}"), *made.facts)),
        view=view,
        grid=pictures.pop(_MOVED, None),
        pictures=list(pictures.values()),
    )


def _masthead(view: RunView) -> Masthead:
    return Masthead(
        kind="run",
        title=view.title,
        verdict=view.verdict,
        figures=view.figures,
        cautions=view.cautions,
    )


def _picture(run: TrainRun, metrics: Metrics, name: str) -> Markup:
    title, description = _TOLD[name]
    return inline_svg(draw(run, metrics, name), name, title=title, description=description)
