"""A comparison as a page."""

from dataclasses import dataclass, replace

from spectrum_ft.records.comparisons import COMPARISON_SCHEMA, Comparison
from spectrum_ft_reports.comparisons.bases import explained
from spectrum_ft_reports.comparisons.contrast_views import ContrastGroup
from spectrum_ft_reports.comparisons.headline import cautions, headline, key_figures
from spectrum_ft_reports.comparisons.pictures import draw_for_page
from spectrum_ft_reports.comparisons.trials import rates_view, seeds_rows
from spectrum_ft_reports.comparisons.views import comparison_view
from spectrum_ft_reports.pages.figures import Shown, shown
from spectrum_ft_reports.pages.masthead import Masthead, Source, making
from spectrum_ft_reports.pages.rendering import render

_PICTURES = ("accuracy-by-memory", "places", "seeds", "loss-by-step", "loss-by-time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers in one metric."""

    group: ContrastGroup
    """The answers, as strings."""
    shown: Shown | None
    """The answers, as a picture."""


def comparison_page(comparison: Comparison, *, source: Source) -> str:
    """The page of `comparison`, read from `source`."""
    view = comparison_view(comparison)
    pictures = {name: _shown(comparison, name) for name in _PICTURES}
    metrics = dict.fromkeys(contrast.metric for contrast in comparison.contrasts)
    answers = [
        Answers(group=group, shown=_shown(comparison, f"{metric}-differences"))
        for metric, group in zip(metrics, view.contrasts, strict=True)
    ]
    made = making(
        command=comparison.command,
        schema=COMPARISON_SCHEMA,
        source=source,
        environment=comparison.environment,
    )
    return render(
        "comparison.html",
        head=Masthead(
            kind="comparison",
            title=view.title,
            verdict=headline(comparison),
            figures=key_figures(comparison),
            cautions=cautions(comparison),
        ),
        made=replace(made, facts=(*view.facts, *made.facts)),
        view=view,
        answers=answers,
        memory=pictures["accuracy-by-memory"],
        losses=[pictures["loss-by-step"], pictures["loss-by-time"]],
        places=pictures["places"],
        seeds=pictures["seeds"],
        seeds_rows=seeds_rows(comparison.arms),
        rates=rates_view(comparison.arms),
        explained=explained(comparison.arms, comparison.contrasts),
        noted={title for note in view.contrast_notes for title in note.columns},
    )


def _shown(comparison: Comparison, name: str) -> Shown | None:
    drawn = draw_for_page(comparison, name)
    if drawn is None:
        return None
    figure, caption = drawn
    notes = caption.notes.replace("\n", "; ")
    return shown(figure, name, title=caption.title, notes=notes)
