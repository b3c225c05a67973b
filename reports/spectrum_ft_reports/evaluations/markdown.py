"""An evaluation as Markdown, for a model card or a pull request."""

from spectrum_ft_reports.evaluations.views import EvaluationView
from spectrum_ft_reports.parts.markdown import fenced, listed, safe, table


def evaluation_markdown(view: EvaluationView) -> str:
    """What was measured, on what and how, and the command that does it again."""
    parts = [f"### {safe(view.title)}", safe(view.verdict)]
    if view.metrics:
        rows = [[safe(row.name), row.value, row.interval, safe(row.of)] for row in view.metrics]
        parts.append(table(("metric", "value", "95 % interval", "of"), rows, names=1))
    parts += listed("Note", view.cautions)
    parts += listed("How it was measured", [f"{fact.label}: {fact.text}" for fact in view.facts])
    parts += listed("The first wrong answers", [f"{place}: {text}" for place, text in view.wrong])
    parts += [fenced(view.command)] if view.command else []
    return "\n\n".join(parts) + "\n"
