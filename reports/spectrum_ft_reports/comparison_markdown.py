"""A comparison as Markdown, for a model card or a pull request."""

import re
from collections.abc import Sequence

from spectrum_ft_reports.comparison_views import CONTRASTS_NOTE, DOMINATED, ComparisonView

_SPECIAL = re.compile(r"[\\`*_{}\[\]#!|>~$&^]")
_LIST_LIKE = re.compile(r"^(\d{0,9})(?=[-+=.)])")
_LINK_LIKE = re.compile(
    r"(?<=[Hh][Tt][Tt][Pp])(?=:)|(?<=[Ss])(?=://)|(?<=[Ww]{3})(?=\.)|(?<=ftp)(?=:)"
)
_MENTION = re.compile(r"(?<=@)(?=\w)|(?<=#)(?=\d)|(?<=\bGH)(?=-\d)", re.IGNORECASE)


def comparison_markdown(view: ComparisonView) -> str:
    """The table of a comparison, its verdict, and the command that makes it again."""
    parts = [f"### {_safe(view.title)}", view.setting, _arms(view)]
    notes = ["**bold**: best of its column"] if view.columns else []
    if any(arm.dominated for arm in view.arms):
        notes.append(f"†: {DOMINATED}")
    parts.append("; ".join(notes))
    parts += _listed("Verdict", view.verdicts)
    for group in view.contrasts:
        head = ("arm", "against", "differs by", "95 % interval", "p", "these models", "finding")
        rows = [
            (
                _safe(row.arm),
                _safe(row.against),
                row.difference,
                row.interval,
                row.p,
                row.models,
                row.finding,
            )
            for row in group.rows
        ]
        parts += [f"**{group.title.capitalize()}**", _table(head, rows, names=2)]
    if view.contrasts:
        parts.append(CONTRASTS_NOTE)
    parts += _listed("What differs", view.differences)
    parts += _listed("How it was made", [f"{fact.label}: {fact.text}" for fact in view.facts])
    parts.append(_fenced(view.command))
    return "\n\n".join(part for part in parts if part) + "\n"


def _arms(view: ComparisonView) -> str:
    rows = []
    for place, arm in enumerate(view.arms):
        figures = (column.figures[place] for column in view.columns)
        cells = [f"**{figure.text}**" if figure.best else figure.text for figure in figures]
        rows.append([_safe(arm.name) + " †" * arm.dominated, *cells])
    return _table(("arm", *(column.title for column in view.columns)), rows, names=1)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, names: int) -> str:
    """A table whose first `names` columns stand to the left, the others to the right."""
    rule = ["---"] * names + ["---:"] * (len(head) - names)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def _listed(heading: str, sentences: Sequence[str]) -> list[str]:
    if not sentences:
        return []
    return [f"**{heading}**", "\n".join(f"- {_safe(sentence)}" for sentence in sentences)]


def _fenced(command: str) -> str:
    """The command in a block of its own, whatever ticks are in it."""
    if not command:
        return ""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
    return f"{fence}sh\n{command}\n{fence}"


def _safe(text: str) -> str:
    """`text` as a reader sees it: no markup, no link, nobody called."""
    text = _MENTION.sub("\0", _LINK_LIKE.sub("\0", text.strip()))
    text = _SPECIAL.sub(r"\\\g<0>", text).replace("<", "&lt;")
    text = _LIST_LIKE.sub(r"\1\\", text)
    # An empty comment shows nothing, and keeps apart what would be taken for a link or a name.
    return text.replace("\0", "<!-- -->")
