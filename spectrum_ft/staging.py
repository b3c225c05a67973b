"""Folders that appear whole: filled under another name beside their place, put there by a rename.

A process that is killed leaves at most a hidden folder `.NAME.<hex>` (not finished, or dropped) or
`.NAME.replaced-<hex>` (what a new folder was about to replace). Whoever fills NAME next clears the
first away, and puts the second back if NAME is gone.
"""

import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from spectrum_ft.errors import OutputError

WhenTaken = Literal["keep", "refuse", "replace"]
"""What becomes of a folder that has the name by the time ours is full: it stays and ours goes, it
stays and that is an error, or ours takes its place."""

_REPLACED = "replaced-"
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def staged(
    target: Path, *, hint: str, when_taken: WhenTaken, abandoned_seconds: float
) -> Iterator[Path]:
    """An empty folder to fill, which becomes `target` by one rename when the block ends well.

    Its files and sub-folders are on the disk before that, with the modes that the umask asks for.
    After an exception nothing is left. What killed processes left goes if nothing in it changed
    for `abandoned_seconds`. Raises `OutputError` with `hint`, also for an `OSError` in the block.
    """
    staging = _beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(target, abandoned_seconds)
        staging.mkdir()
        yield staging
        _finish(staging)
        _put_in_place(staging, target, when_taken)
    except OSError as fault:
        raise OutputError(
            f"{target}: cannot be written ({_reason(fault, staging)})", hint
        ) from fault
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def clear_leftovers(target: Path, abandoned_seconds: float) -> None:
    """Clear away what killed processes left beside `target`; see the module's docstring."""
    name = re.compile(rf"\.{re.escape(target.name)}\.({_REPLACED})?[0-9a-f]{{4,8}}")
    for path in [path for path in target.parent.iterdir() if name.fullmatch(path.name)]:
        # Another process may be at work here: what it finished just now is not there any more.
        with suppress(FileNotFoundError):
            if f".{_REPLACED}" in path.name and not os.path.lexists(target):
                path.rename(target)
            elif _idle_seconds(path) >= abandoned_seconds:
                shutil.rmtree(path, ignore_errors=True)


def drop_folder(folder: Path) -> None:
    """Delete `folder`: under its own name it is whole or gone, whenever the process is killed."""
    dropped = _beside(folder)
    folder.rename(dropped)
    shutil.rmtree(dropped, ignore_errors=True)


def free_bytes(path: Path) -> int:
    """The free space where `path` lies, or would lie once it and the folders above it exist."""
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def _beside(target: Path, what: str = "") -> Path:
    return target.with_name(f".{target.name}.{what}{secrets.token_hex(4)}")


def _idle_seconds(folder: Path) -> float:
    times = [path.lstat().st_mtime for path in (folder, *folder.rglob("*"))]
    return time.time() - max(times)


def _finish(staging: Path) -> None:
    """Give all of `staging` the umask's modes, and have the disk hold it."""
    # The folder got the umask's mode when it was made; safetensors gives its files 0600 instead.
    folder_mode = stat.S_IMODE(staging.stat().st_mode)
    # Innermost first: a folder's names are safe once its own content is.
    for path in sorted(staging.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        path.chmod(folder_mode if path.is_dir() else folder_mode & 0o666)
        _sync(path)
    _sync(staging)


def _put_in_place(staging: Path, target: Path, when_taken: WhenTaken) -> None:
    replaced = None
    if when_taken == "replace" and os.path.lexists(target):
        replaced = _beside(target, _REPLACED)
        target.rename(replaced)
    try:
        staging.rename(target)
    except OSError as fault:
        if not os.path.lexists(target) or when_taken == "replace":
            raise
        if when_taken == "refuse" or not target.is_dir():
            raise FileExistsError(errno.EEXIST, "it appeared in the meantime") from fault
    finally:
        if replaced is not None and not os.path.lexists(target):
            replaced.rename(target)
    _sync(target.parent)
    if replaced is not None:
        shutil.rmtree(replaced, ignore_errors=True)


def _sync(path: Path) -> None:
    """Have the disk hold a file's or folder's content before anything that relies on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(fault: OSError, staging: Path) -> str:
    reason = fault.strerror or str(fault)
    if fault.errno not in _FULL_DISK:
        return reason
    written = sum(path.lstat().st_size for path in staging.rglob("*") if path.is_file())
    # What is half written goes now.
    free = free_bytes(staging) + written
    return f"{reason}: it takes more than {written:,} bytes, {free:,} are free"
