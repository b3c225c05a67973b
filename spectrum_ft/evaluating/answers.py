"""Answers as they are compared: taken out of a text, and normalised."""

import re
import unicodedata

MAX_CHARACTERS = 20_000
"""The end of a text that is searched for an answer; generated texts are far shorter."""

_QUOTES = "\"'`“”‘’«»"
_NUMBER = re.compile(r"[-+]?\$?[0-9][0-9,]*(?:\.[0-9]+)?")


def normalised(text: str) -> str:
    """`text` as it is compared: two answers are the same if they are equal after this.

    Unicode's compatibility form (NFKC), case folded, white space at both ends dropped and inside
    made one space, quotation marks around it and full stops behind it dropped.
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip(_QUOTES).rstrip(".").strip(_QUOTES).strip()


def extracted(text: str, pattern: re.Pattern[str] | None) -> str | None:
    """The normalised answer in `text`; None if `pattern` does not match.

    The first group of the pattern's last match counts, without a pattern all of `text`. Of a
    number its thousands' separators, a dollar sign and a decimal part of zeros are dropped, so
    that `1,000.00` is `1000`.
    """
    if pattern is None:
        return normalised(text)
    found = [match[1] for match in pattern.finditer(text[-MAX_CHARACTERS:])]
    if not found or found[-1] is None:
        return None
    answer = normalised(found[-1])
    return _plain_number(answer) if _NUMBER.fullmatch(answer) else answer


def _plain_number(answer: str) -> str:
    plain = answer.replace(",", "").replace("$", "").removeprefix("+")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
