"""Plain reads of checkpoint files: no mapping, so a file that shrinks cannot kill the process."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.errors import CheckpointError

_KNOWN_STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull`"),
    (b"GGUF", "a GGUF file", "give it a name that ends in .gguf"),
    (b"PK\x03\x04", "a zip archive (perhaps a PyTorch pickle)", "convert it to safetensors"),
    (b"\x80", "a Python pickle", "convert it to safetensors; pickles can run code"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"<", "an HTML or XML page, perhaps a failed download", "download the file again"),
    (b"{", "JSON text, perhaps an error message of a failed download", "download the file again"),
)


# Neither flag exists on Windows, which has no FIFOs in folders and reads text unless told not to.
_WITHOUT_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: Path) -> FileIO:
    """`path` open for reading; `CheckpointError` if it is no regular file or cannot be read.

    Opened without blocking, so that a FIFO planted under a weight file's name cannot hang us.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _WITHOUT_BLOCKING)
    except OSError as fault:
        raise CheckpointError(
            f"{path}: cannot be read ({fault.strerror})", "check that it is there and yours to read"
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(f"{path}: not a regular file", "give the weight file itself")
    return FileIO(descriptor, "rb")


@contextmanager
def reading(path: Path) -> Iterator[FileIO]:
    """As `open_regular`, closed in the end; reads that fail raise `CheckpointError` as well."""
    with open_regular(path) as file:
        try:
            yield file
        except OSError as fault:
            raise CheckpointError(
                f"{path}: cannot be read ({fault.strerror})", "check the disk that it is on"
            ) from None


class FileIdentity(NamedTuple):
    """What changes when a file is replaced or rewritten."""

    inode: int
    num_bytes: int
    modified_ns: int


def identity(file: FileIO) -> FileIdentity:
    """Which file is open, and in which state."""
    status = os.fstat(file.fileno())
    return FileIdentity(status.st_ino, status.st_size, status.st_mtime_ns)


def read_range(
    path: Path, offset: int, num_bytes: int, expected: FileIdentity | None = None
) -> NDArray[np.uint8]:
    """`num_bytes` bytes of `path` from `offset`, as a writable 1-D uint8 array.

    Raises `CheckpointError` if the file is shorter than that, is not the one `expected` from the
    reading of its header, or changes under the read.
    """
    data = np.empty(num_bytes, dtype=np.uint8)
    view = data.data
    done = 0
    with reading(path) as file:
        before = identity(file)
        if expected is not None and before != expected:
            raise CheckpointError(
                f"{path}: changed since its header was read", "scan it when nothing writes to it"
            )
        file.seek(offset)
        while done < num_bytes:
            # One call moves at most 2 GiB on Linux, and may move less.
            count = file.readinto(view[done:])
            if not count:
                raise CheckpointError(
                    f"{path}: ended after {offset + done:,} bytes while a tensor was being read",
                    "the file is truncated or changed; download it again",
                )
            done += count
        if identity(file) != before:
            raise CheckpointError(
                f"{path}: changed while it was being read", "scan it when nothing writes to it"
            )
    return data


def describe_content(start: bytes) -> tuple[str, str] | None:
    """What a file that begins with `start` seems to be, and what to do; None when unknown."""
    return next(
        ((what, remedy) for magic, what, remedy in _KNOWN_STARTS if start.startswith(magic)), None
    )
