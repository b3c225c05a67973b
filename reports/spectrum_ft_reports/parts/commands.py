"""Commands to copy: names in them reach the program as the names that they are."""

import re
import shlex

_LONGEST = 4_000  # no path that a system opens is longer

_HOME = re.compile(r"~(/|\Z)")


def argument(name: str) -> str:
    """The file, folder or model `name` as a word of a command.

    A shell takes it for one word that stands for `name`, and no program takes it for an option. A
    `~` at its start is the home folder, as in records, and stays outside the quotes.
    """
    return shell_word(f"./{name}" if name.startswith("-") else name)


def shell_word(word: str) -> str:
    """`word` as a shell takes it for one, on one line of printable characters.

    Quoted only where that is needed. What does not print is written byte by byte, `$'\\033'`; a
    word that is too long to name anything is cut in its middle.
    """
    if len(word) > _LONGEST:
        word = f"{word[: _LONGEST // 2]}...{word[-_LONGEST // 2 :]}"
    home = found[0] if (found := _HOME.match(word)) else ""
    rest = word[len(home) :]
    if not rest and home:
        return home
    return home + (shlex.quote(rest) if rest.isprintable() else _escaped(rest))


def shell_line(*words: str) -> str:
    """`words`, which may be options, as a line that a shell takes for them."""
    return " ".join(shell_word(word) for word in words)


def _escaped(text: str) -> str:
    return "$'" + "".join(map(_escape, text)) + "'"


def _escape(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    if character == "\0":
        return r"\\0"  # in no name: a shell would take it for the end of this one
    # A name that is no valid UTF-8 holds its odd bytes as U+DC80 to U+DCFF.
    odd = "\udc80" <= character <= "\udcff"
    data = character.encode("utf-8", "surrogateescape" if odd else "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in data)
