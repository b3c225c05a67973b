"""A plan as Markdown, for a model card or a pull request."""

from spectrum_ft_reports.parts.markdown import fenced, listed, safe, table
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.plans.views import PlanView

_HEAD = ("kind", "of", "train", "adapters", "packed", "as is", "weights", "trained", "cut")


def plan_markdown(view: PlanView, command: str) -> str:
    """What a plan does in numbers, what it takes, and the `command` that made it."""
    parts = [f"### {safe(view.title)}", safe(view.verdict)]
    parts += listed("To know", view.cautions)
    parts.append(_kinds(view))
    notes = [view.units_note, _cut(view)]
    parts.append(" ".join(note for note in notes if note))
    if view.memory is not None:
        memory = view.memory
        planned = f" It was planned for {memory.budget}." if memory.budget else ""
        parts.append(
            f"**Memory:** {memory.total} on {memory.device} {memory.moment}, "
            f"for {memory.tokens}.{planned} {safe(memory.settings)}. {memory.note}"
        )
        rows = [(part.name, part.size, part.share) for part in memory.parts]
        parts.append(table(("part", "size", "share"), rows, names=1))
    parts += listed("Facts", [f"{fact.label}: {fact.text}" for fact in view.facts])
    parts += ["Made by:", fenced(printable(command, 8_000))] if command else []
    parts += ["Trained by:", fenced(view.next_command)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _kinds(view: PlanView) -> str:
    rows = [
        (
            safe(row.kind),
            row.of,
            row.train,
            row.adapter,
            row.packed,
            row.frozen,
            row.weights,
            row.trained,
            row.cut.replace("|", "\\|"),
        )
        for row in view.kinds
    ]
    kept = [i for i in range(len(_HEAD)) if i == 0 or any(row[i] != "-" for row in rows)]
    return table([_HEAD[i] for i in kept], [[row[i] for i in kept] for row in rows], names=1)


def _cut(view: PlanView) -> str:
    if all(row.cut == "-" for row in view.kinds):
        return ""
    return f"cut: the {safe(view.score)} of the last one taken \\| of the first one left."
