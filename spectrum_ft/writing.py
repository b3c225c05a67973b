"""The one door for results: whole files or nothing, and nothing overwritten by accident."""

import os
import tempfile
from pathlib import Path

from spectrum_ft.errors import OutputError

TEMPORARY = ".spectrum-ft-"
"""How the name of a file begins that is being written; a process that is killed may leave one."""


def check_writable(path: Path, *, force: bool) -> None:
    """Raise `OutputError` now if `write_file` could not succeed later.

    Called before long work, so that nobody waits for a result that has nowhere to go.
    """
    if os.path.isdir(path):
        raise OutputError(f"{path}: is a folder", "give the name of a file")
    if os.path.lexists(path) and not force:
        raise OutputError(f"{path}: already exists", "pass --force to replace it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{path}: not a regular file", "give the name of a file")
    folder = path.parent
    if not os.path.isdir(folder):
        raise OutputError(f"{folder}: no such folder", "make it first, or give another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: may not be written to", "give a path elsewhere")


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, unless they are there; `OutputError` if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{folder}: cannot be made ({fault.strerror})", "give another path"
        ) from None


def write_file(path: Path, content: str | bytes, *, force: bool) -> None:
    """Write `content`, a text as UTF-8, to `path`: all of it, or nothing at all.

    Written beside the target under a temporary name, flushed to disk and renamed. Without `force`
    the name is taken by a link, which fails if another process took it in the meantime. File modes
    follow the umask; a replaced file keeps its own. Raises `OutputError`.
    """
    check_writable(path, force=force)
    try:
        mode = path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask()
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            _rename(name, path, force=force)
        finally:
            Path(name).unlink(missing_ok=True)
    except FileExistsError:
        raise OutputError(f"{path}: already exists", "pass --force to replace it") from None
    except OSError as fault:
        raise OutputError(
            f"{path}: cannot be written ({fault.strerror})", "make room there, or give another path"
        ) from None


def _rename(name: str, path: Path, *, force: bool) -> None:
    if not force:
        try:
            os.link(name, path)
            return
        except FileExistsError:
            raise
        except OSError:
            # No hard links here (exFAT, some network drives). What a rename cannot tell is whether
            # the name was taken since it was last looked at.
            if path.exists():
                raise FileExistsError from None
    os.replace(name, path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
