"""Where this tool keeps what it can make again, and how a folder gets in there whole."""

import os
from contextlib import AbstractContextManager
from pathlib import Path

from platformdirs import user_cache_path

from spectrum_ft.staging import staged

# Filling a folder takes minutes: one this old was left by a process that was killed.
_ABANDONED_SECONDS = 24 * 3600


def cache_folder() -> Path:
    """The cache's folder, which may not exist yet: whoever writes into it makes it.

    The environment variable SPECTRUM_FT_CACHE names another one than the user's own.
    """
    named = os.environ.get("SPECTRUM_FT_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    return user_cache_path("spectrum-ft", appauthor=False)


def filling(target: Path) -> AbstractContextManager[Path]:
    """An empty folder to fill, which becomes `target` when the block ends well; see `staged`.

    Two processes may do this at once: the first one's folder stays.
    """
    return staged(
        target,
        hint="make room there, or name another folder in SPECTRUM_FT_CACHE",
        when_taken="keep",
        abandoned_seconds=_ABANDONED_SECONDS,
    )
