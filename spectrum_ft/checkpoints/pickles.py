"""Old PyTorch weight files, which are pickles: opt-in, and read in a process of its own.

The child reads tensors only (`weights_only`), writes them as safetensors into a temporary folder
and ends; whatever a hostile file does to the child's memory dies with it. `weights_only` was
broken twice (CVE-2025-32434, CVE-2026-24747), hence the bound on torch's version.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from spectrum_ft.checkpoints.file_reading import identity, reading
from spectrum_ft.checkpoints.safetensors_file import read_safetensors_header
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError

MAX_INFLATION = 2
"""How much larger archive and tensors may be than the file; torch stores without compression."""

_CHILD = Path(__file__).with_name("pickle_child.py")

# Holds the temporary folders until the process ends, when each removes itself.
_SCRATCH: list[tempfile.TemporaryDirectory[str]] = []


def convert_pickles(files: Sequence[Path]) -> tuple[TensorEntry, ...]:
    """The tensors of pickled weight files, converted to safetensors in a temporary folder.

    The folder lives as long as this process and takes as much room as the files do. Raises
    `CheckpointError` for what is no archive of plain tensors, or unpacks to more than it should.
    """
    scratch = tempfile.TemporaryDirectory(prefix="spectrum-ft-")
    _SCRATCH.append(scratch)
    entries: dict[str, TensorEntry] = {}
    for number, file in enumerate(files):
        _check_archive(file)
        target = Path(scratch.name) / f"{number:05d}.safetensors"
        child = subprocess.run(
            [sys.executable, "-I", str(_CHILD), str(file), str(target), str(MAX_INFLATION)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if child.returncode != 0:
            reason = (child.stderr.strip().splitlines() or ["the reader was killed"])[-1]
            raise CheckpointError(
                f"{file}: {ascii(reason)[1:-1][:200]}",
                "convert it to safetensors where it was made",
            )
        for entry in read_safetensors_header(target):
            if entry.name in entries:
                raise CheckpointError(
                    f"{file}: holds {ascii(entry.name)[1:-1][:200]} a second time",
                    "give the one file that holds the weights",
                )
            entries[entry.name] = entry
    return tuple(entries.values())


def _check_archive(file: Path) -> None:
    with reading(file) as opened:
        if not zipfile.is_zipfile(opened):
            raise CheckpointError(
                f"{file}: not a PyTorch archive (a zip file)",
                "files from before PyTorch 1.6 are not read; convert it to safetensors",
            )
        try:
            with zipfile.ZipFile(opened) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as fault:
            raise CheckpointError(
                f"{file}: a damaged archive ({fault})", "download the file again"
            ) from None
        num_bytes = identity(opened).num_bytes
    if unpacked > MAX_INFLATION * num_bytes:
        raise CheckpointError(
            f"{file}: unpacks to {unpacked:,} bytes, far more than it should",
            "do not use this file",
        )
