"""A finished run as Markdown, for a model card or a pull request."""

from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.markdown import fenced, listed, safe, table
from spectrum_ft_reports.runs.views import RunView

_COURSE = (
    *(("steps", "steps"), ("epoch", "epochs"), ("loss", "training loss")),
    *(("held_out", "held-out loss"), ("lr", "learning rate"), ("lora_lr", "of adapters")),
    *(("speed", "tokens/s"), ("memory", "peak memory")),
)


def run_markdown(view: RunView) -> str:
    """What came of a run, how it went, and the commands that make it again and use it."""
    parts = [f"### {safe(view.title)}", safe(view.verdict)]
    parts += listed("What came of it", _told(view.facts))
    parts += listed("Note", view.cautions)
    parts += listed("What was trained, and on what", _told((*view.contract, *view.data)))
    parts += listed(
        "Settings that differ from the defaults",
        [f"{row.name} {row.value} (default: {row.default})" for row in view.settings],
    )
    if view.course:
        shown = [(name, title) for name, title in _COURSE if name not in view.blank]
        rows = [[getattr(row, name) for name, _ in shown] for row in view.course]
        parts += ["**How it went**", table([title for _, title in shown], rows, names=1)]
    if view.moved:
        head = ("kind", "tensors", "mean", "lowest", "highest")
        rows = [
            [safe(row.kind), row.tensors, row.mean, row.lowest, row.highest] for row in view.moved
        ]
        parts += ["**Weights that moved, by kind**", table(head, rows, names=1)]
    parts += ["**Made by**", fenced(view.command)] if view.command else []
    if view.commands:
        parts += ["**What to do next**", fenced("\n".join(view.commands))]
    return "\n\n".join(parts) + "\n"


def _told(facts: tuple[Fact, ...]) -> list[str]:
    return [f"{fact.label}: {fact.text}" for fact in facts]
