"""Pieces of Markdown in which a stranger's text stays text."""

import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"[\\`*_{}\[\]#!|>~$&^]")
_LIST_LIKE = re.compile(r"^(\d{0,9})(?=[-+=.)])")
_LINK_LIKE = re.compile(
    r"(?<=[Hh][Tt][Tt][Pp])(?=:)|(?<=[Ss])(?=://)|(?<=[Ww]{3})(?=\.)|(?<=ftp)(?=:)"
)
_MENTION = re.compile(r"(?<=@)(?=\w)|(?<=#)(?=\d)|(?<=\bGH)(?=-\d)", re.IGNORECASE)


def safe(text: str) -> str:
    """`text` as a reader sees it: no markup, no link, nobody called."""
    text = _MENTION.sub("\0", _LINK_LIKE.sub("\0", text.strip()))
    text = _SPECIAL.sub(r"\\\g<0>", text).replace("<", "&lt;")
    text = _LIST_LIKE.sub(r"\1\\", text)
    # An empty comment shows nothing, and keeps apart what would be taken for a link or a name.
    return text.replace("\0", "<!-- -->")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, names: int) -> str:
    """A table whose first `names` columns stand to the left, the others to the right."""
    rule = ["---"] * names + ["---:"] * (len(head) - names)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def listed(heading: str, sentences: Sequence[str]) -> list[str]:
    """A heading and a list, or nothing where there is nothing to list."""
    if not sentences:
        return []
    return [f"**{heading}**", "\n".join(f"- {safe(sentence)}" for sentence in sentences)]


def fenced(command: str) -> str:
    """The command in a block of its own, whatever ticks are in it; nothing for none."""
    if not command:
        return ""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
    return f"{fence}sh\n{command}\n{fence}"
