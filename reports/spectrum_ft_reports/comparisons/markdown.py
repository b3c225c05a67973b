"""A comparison as Markdown, for a model card or a pull request."""

from spectrum_ft_reports.comparisons.views import ComparisonView
from spectrum_ft_reports.parts.markdown import fenced, listed, safe, table


def comparison_markdown(view: ComparisonView) -> str:
    """The table of a comparison, its verdict, and the command that makes it again."""
    parts = [f"### {safe(view.title)}", view.setting, _arms(view)]
    notes = ["**bold**: best of its column"] if view.columns else []
    if view.domination:
        notes.append(f"†: {view.domination}")
    if view.basis:
        notes.append(f"intervals of 95 %: {view.basis}")
    parts.append("; ".join(notes))
    parts += listed("Verdict", view.verdicts)
    for group in view.contrasts:
        head = ("arm", "against", "differs by", "95 % interval", "p", "these models", "finding")
        rows = [
            (
                safe(row.arm),
                safe(row.against),
                row.difference,
                row.interval,
                row.p,
                row.models,
                row.finding,
            )
            for row in group.rows
        ]
        parts += [f"**{group.title.capitalize()}**", table(head, rows, names=2)]
    parts.append(" ".join(note.text for note in view.contrast_notes))
    parts += listed("What differs", view.differences)
    parts += listed("How it was made", [f"{fact.label}: {fact.text}" for fact in view.facts])
    parts.append(fenced(view.command))
    return "\n\n".join(part for part in parts if part) + "\n"


def _arms(view: ComparisonView) -> str:
    rows = []
    for place, arm in enumerate(view.arms):
        figures = (column.figures[place] for column in view.columns)
        cells = [f"**{figure.text}**" if figure.best else figure.text for figure in figures]
        rows.append([safe(arm.name) + " †" * arm.dominated, *cells])
    return table(("arm", *(column.title for column in view.columns)), rows, names=1)
