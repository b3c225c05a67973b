"""A folder that one process works in at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spectrum_ft.errors import OutputError


@contextmanager
def locked(lock: Path, taken: str) -> Iterator[None]:
    """Hold the file `lock` while the block runs; the system lets go of it with the process.

    Raises `OutputError` saying `taken`, and which process has it, where another one does.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as fault:
        raise OutputError(
            f"{lock}: cannot be opened ({fault.strerror})",
            "check the folder's permissions, or give another one",
        ) from None
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = ascii(file.read(20).strip().decode("ascii", "replace"))[1:-1] or "unknown"
            raise OutputError(
                f"{lock.parent}: {taken} (process {owner})", "wait for it, or give another folder"
            ) from None
        if (found := file.read(20).strip()) and not found.isdigit():
            raise OutputError(f"{lock}: is no lock of ours", "give an empty or a new folder")
        try:
            file.seek(0)
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
        except OSError as fault:
            raise OutputError(
                f"{lock}: cannot be written ({fault.strerror})", "make room there"
            ) from fault
        yield
