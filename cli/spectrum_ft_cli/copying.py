"""Commands to copy."""

import shlex


def command_to_copy(*words: str) -> str:
    """A command line that a shell takes as it stands; quoted only where that is needed."""
    return shlex.join(words).replace("'25%'", "25%")
