"""A diff as Markdown, for a model card or a pull request."""

from dataclasses import astuple

from spectrum_ft_reports.diffs.views import DiffView
from spectrum_ft_reports.parts.markdown import fenced, listed, safe, table


def diff_markdown(view: DiffView) -> str:
    """What was compared, the kinds, the matrices that changed most, and the command."""
    facts = [f"{fact.label}: {fact.text}" for fact in view.header]
    parts = ["### Diff", "\n".join(f"- {safe(line)}" for line in facts), _kinds(view)]
    parts.append(f"**{safe(view.heading.capitalize())}**")
    if view.matrices:
        parts.append(_matrices(view))
    parts += listed("How to read it", [f"{note.label}: {note.text}" for note in view.notes])
    parts.append(fenced(view.command))
    return "\n\n".join(part for part in parts if part) + "\n"


def _kinds(view: DiffView) -> str:
    head = (
        "kind",
        "changed",
        "rank corr.",
        "same picks",
        "Jaccard",
        "median",
        "shift",
    )
    rows = [(safe(row.kind), *astuple(row)[1:]) for row in view.kinds]
    return table(head, rows, names=1)


def _matrices(view: DiffView) -> str:
    spectrum = "moved" if view.has_distances else "spectrum"
    head = ("kind", "layer", safe(view.score), "change", spectrum, "rank", "pick")
    rows = [
        (
            safe(row.kind),
            row.layer,
            row.scores,
            row.change,
            row.distance if view.has_distances else row.spectrum,
            row.rank,
            row.selected,
        )
        for row in view.matrices
    ]
    return table(head, rows, names=1)
