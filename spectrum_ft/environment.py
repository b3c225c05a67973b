"""What made a record: versions, machine, and the command line without its secrets."""

import platform
import re
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from spectrum_ft import __version__
from spectrum_ft.records import Environment

_SECRET = re.compile(r"\b(hf_|sk-|ghp_|github_pat_)[A-Za-z0-9_-]{6,}")
_SECRET_OPTION = re.compile(r"^--?[\w-]*(token|key|password|secret)[\w-]*$", re.IGNORECASE)


def current_environment(device: str) -> Environment:
    """Versions and machine of this process; `device` says what computes."""
    return Environment(
        spectrum_ft=__version__,
        python=platform.python_version(),
        numpy=version("numpy"),
        scipy=version("scipy"),
        platform=f"{platform.system()} {platform.machine()}",
        device=device,
    )


def command_line(arguments: Sequence[str] | None = None) -> str:
    """The command line as a shell would take it, tokens redacted and the home folder as `~`."""
    program, *rest = arguments if arguments is not None else sys.argv
    words = [Path(program).name]
    for before, word in zip(["", *rest], rest, strict=False):
        secret = _SECRET_OPTION.match(before) and not word.startswith("-")
        name, equals, _ = word.partition("=")
        if equals and _SECRET_OPTION.match(name):
            words.append(f"{name}=REDACTED")
        else:
            words.append("REDACTED" if secret else _SECRET.sub("REDACTED", shown_path(word)))
    return shlex.join(words)


def shown_path(text: str) -> str:
    """`text`, with the home folder at its start written as `~`."""
    home = str(Path.home())
    if text == home or text.startswith(home.rstrip("/") + "/"):
        return "~" + text[len(home.rstrip("/")) :]
    return text
