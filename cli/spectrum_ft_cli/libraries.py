"""The large libraries under training: slow to load, and talkative."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from spectrum_ft_cli.talk import Talk


@contextmanager
def quiet_libraries(talk: Talk) -> Iterator[None]:
    """Say once that libraries are loading; inside, neither log lines nor warnings of theirs.

    With `-v` they say what they like.
    """
    if "torch" not in sys.modules:
        talk.say("Loading libraries ...")
    if talk.verbose:
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
