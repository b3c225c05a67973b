"""The list of a folder's files with their digests, by which damage is found before it is used."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spectrum_ft.checkpoints.file_reading import open_regular
from spectrum_ft.errors import CheckpointError, RecordError, few_names
from spectrum_ft.record_files import parse_record, read_bytes_of, to_json, to_record

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = "spectrum-ft/checkpoint@1"

_NAME, _, _VERSION = MANIFEST_SCHEMA.partition("@")


class CheckpointDamaged(CheckpointError):
    """A folder of a run is not as it was written: something is missing, extra or different."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """One file as it was written."""

    bytes: int
    """Its length."""
    sha256: str
    """The SHA-256 of its content, in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a checkpoint or a result of a run consists of."""

    schema: str = MANIFEST_SCHEMA
    """Name and version of this layout."""
    run: str
    """The id of the run that wrote it."""
    step: int
    """The optimizer steps done by then."""
    files: dict[str, FileFacts] = field(default_factory=dict)
    """Every file but the manifest, by its path inside the folder, with `/` between its parts."""


def write_manifest(folder: Path, *, run_id: str, step: int) -> None:
    """Write the manifest of all that lies in `folder` now. Raises `OSError`."""
    files = {}
    for name, path in _files(folder):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[name] = FileFacts(bytes=file.tell(), sha256=digest)
    manifest = Manifest(run=run_id, step=step, files=files)
    (folder / MANIFEST).write_text(to_json(manifest), encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`, with nothing checked against it.

    Raises `CheckpointDamaged` if it is missing or malformed, `CheckpointError` if it was written
    by a newer version.
    """
    path = folder / MANIFEST
    if not os.path.isfile(path):
        raise CheckpointDamaged(f"{path}: is missing", _what_to_do(folder))
    try:
        table = parse_record(read_bytes_of(str(path)), str(path))
        name, _, version = str(table.get("schema")).partition("@")
        if name == _NAME and version.isdecimal() and int(version[:9]) > int(_VERSION):
            raise CheckpointError(f"{path}: written by a newer version", "upgrade spectrum-ft")
        return to_record(table, Manifest, MANIFEST_SCHEMA, str(path))
    except RecordError as fault:
        raise CheckpointDamaged(fault.message, _what_to_do(folder)) from None


def verify_manifest(folder: Path, *, run_id: str | None = None) -> Manifest:
    """The manifest of `folder`, once everything in there is what it says.

    Raises `CheckpointDamaged` naming the first file that is missing, extra, of another length or
    of another content; `CheckpointError` for a folder of another run than `run_id`.
    """
    manifest = read_manifest(folder)
    if run_id is not None and manifest.run != run_id:
        other = ascii(manifest.run)[1:-1][:60]
        raise CheckpointError(
            f"{folder}: belongs to another run ({other})", "give one of this run's own"
        )
    found = dict(_files(folder))
    for names, what in (
        (manifest.files.keys() - found.keys(), "is missing"),
        (found.keys() - manifest.files.keys(), "was not there when it was written"),
    ):
        if names:
            raise CheckpointDamaged(
                f"{folder}: damaged, {few_names(sorted(names))} {what}", _what_to_do(folder)
            )
    for name, facts in manifest.files.items():
        _verify_file(folder, name, found[name], facts)
    return manifest


def _verify_file(folder: Path, name: str, path: Path, facts: FileFacts) -> None:
    shown = ascii(name)[1:-1][:120]
    try:
        with open_regular(path) as file:
            length = os.fstat(file.fileno()).st_size
            same = length == facts.bytes and (
                hashlib.file_digest(file, "sha256").hexdigest() == facts.sha256
            )
    except CheckpointError as fault:
        raise CheckpointDamaged(fault.message, fault.hint) from None
    except OSError as fault:
        raise CheckpointDamaged(f"{path}: cannot be read ({fault.strerror})") from None
    if length != facts.bytes:
        what = f"{shown} has {length:,} bytes instead of {facts.bytes:,}"
    elif not same:
        what = f"{shown} has another content than was written"
    else:
        return
    raise CheckpointDamaged(f"{folder}: damaged, {what}", _what_to_do(folder))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Everything in `folder` but its own manifest and its sub-folders themselves, by path."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name != MANIFEST and (path.is_symlink() or not path.is_dir()):
            yield name, path


def _what_to_do(folder: Path) -> str:
    return f"restore {folder.name} from a copy, or use another one"
