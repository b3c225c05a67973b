"""Text that a model's author controls, made safe to show on a terminal."""

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str, limit: int = 200) -> str:
    """`text` on one line, with control, bidirectional and invisible characters escaped.

    Terminals obey escape sequences and reorder text by invisible marks, and rich strips neither.
    Longer texts are cut in the middle.
    """
    if len(text) <= limit and text.isprintable():
        return text  # the same, quickly: scans name tens of thousands of tensors
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _INVISIBLE
        else character
        for character in (text if len(text) <= limit else _shortened(text, limit))
    )


def _shortened(text: str, limit: int) -> str:
    half = (limit - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
