"""What made a record: versions, machine, and the command line without its secrets."""

import os.path
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy

from spectrum_ft import __version__
from spectrum_ft.records.environments import Environment

_SECRET = re.compile(r"\b(hf_|sk-|ghp_|github_pat_)[A-Za-z0-9_-]{6,}")
# `--hf-token` and `--api_key`, but neither `--train-tokens` nor `--tokenizer`.
_SECRET_OPTION = re.compile(r"--?[\w-]*(token|key|password|secret)", re.IGNORECASE)


def current_environment(device: str) -> Environment:
    """Versions and machine of this process; `device` says what computes."""
    return Environment(
        spectrum_ft=__version__,
        python=platform.python_version(),
        numpy=np.__version__,
        scipy=scipy.__version__,
        platform=f"{platform.system()} {platform.machine()}",
        device=device,
    )


def command_line(arguments: Sequence[str] | None = None) -> str:
    """The command line as a shell would take it, tokens redacted and the home folder as `~`."""
    program, *rest = arguments if arguments is not None else sys.argv
    words = [Path(program).name]
    for before, word in zip(["", *rest], rest, strict=False):
        secret = _SECRET_OPTION.fullmatch(before) and not word.startswith("-")
        name, equals, value = word.partition("=")
        if secret:
            words.append("REDACTED")
        elif equals and _SECRET_OPTION.fullmatch(name):
            words.append(f"{name}=REDACTED")
        elif equals and name.startswith("-"):
            words.append(f"{name}={_SECRET.sub('REDACTED', shown_path(value))}")
        else:
            words.append(_SECRET.sub("REDACTED", shown_path(word)))
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    """`word` as a shell would take it; a `~` at its start stays outside the quotes, to count."""
    return f"~/{shlex.quote(word[2:])}" if word[:2] == "~/" and word[2:] else shlex.quote(word)


def shown_path(text: str) -> str:
    """`text`, with the home folder at its start written as `~`, and as valid Unicode."""
    # File names need not be; a record is.
    text = text.encode("utf-8", "backslashreplace").decode()
    home = os.path.expanduser("~")  # where there is none, it stays `~`
    if text == home or text.startswith(home.rstrip("/") + "/"):
        return "~" + text[len(home.rstrip("/")) :]
    return text
