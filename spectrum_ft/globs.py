"""Globs over kinds and names: they match whole strings, never parts of them."""

import difflib
import fnmatch
from collections.abc import Collection, Sequence

from spectrum_ft.errors import PlanError


def matches(globs: Sequence[str], *texts: str) -> bool:
    """Whether any glob matches any of the texts from end to end, case included."""
    return any(fnmatch.fnmatchcase(text, glob) for glob in globs for text in texts)


def check_globs(globs: Sequence[str], texts: Collection[str], what: str) -> None:
    """Raise `PlanError`, with the nearest candidate, for the first glob that matches nothing."""
    for glob in globs:
        if not any(fnmatch.fnmatchcase(text, glob) for text in texts):
            close = difflib.get_close_matches(glob, texts, n=1)
            listed = ", ".join(sorted(texts)[:12]) + (" ..." if len(texts) > 12 else "")
            raise PlanError(
                f"no {what} matches {glob!a}",
                f"did you mean {close[0]}?" if close else f"there are: {listed}",
            )
