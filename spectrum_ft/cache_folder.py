"""Where this tool keeps what it can make again, and how a folder gets in there whole."""

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from spectrum_ft.errors import OutputError

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


@contextmanager
def filling(target: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `target` by one rename when the block ends well.

    Its files are on the disk before that, with the modes that the umask asks for. After an
    exception nothing is left. Two processes may do this at once: the first one's folder stays.
    Raises `OutputError`, also for an `OSError` in the block.
    """
    prefix = f".{target.name}."
    staging = target.with_name(prefix + secrets.token_hex(4))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _drop_abandoned(target.parent, prefix)
        staging.mkdir()
        yield staging
        _commit(staging, target)
    except OSError as fault:
        raise OutputError(
            f"{target}: cannot be written ({fault.strerror or fault})",
            "make room there, or name another folder in SPECTRUM_FT_CACHE",
        ) from fault
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _drop_abandoned(parent: Path, prefix: str) -> None:
    for path in parent.glob(f"{prefix}*"):
        if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _commit(staging: Path, target: Path) -> None:
    # The folder got the umask's mode when it was made; safetensors gives its files 0600 instead.
    file_mode = staging.stat().st_mode & 0o666
    for path in staging.iterdir():
        path.chmod(file_mode)
        _sync(path)
    _sync(staging)
    try:
        staging.rename(target)
    except OSError:
        if not target.is_dir():  # else somebody was faster, with the same content
            raise
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Have the disk hold a file's or folder's content before anything that relies on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
