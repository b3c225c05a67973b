"""A checkpoint as an index of tensors whose values are read one at a time, on demand."""

import hashlib
import json
import os.path
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.config_file import CONFIG, read_config_table
from spectrum_ft.checkpoints.dequantizing import decode, unreadable_type
from spectrum_ft.checkpoints.folder import (
    HEADER_READERS,
    PICKLE_SUFFIXES,
    pickles_in,
    read_folder,
)
from spectrum_ft.checkpoints.hub import fetch_from_hub, is_hub_id
from spectrum_ft.checkpoints.naming import Place, natural_key, place_tensors
from spectrum_ft.checkpoints.packaged import packaged_path
from spectrum_ft.checkpoints.packing.recognising import recognise
from spectrum_ft.checkpoints.pickles import convert_pickles
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError

PACKAGED_PREFIX = "packaged:"

_WHAT_TO_GIVE = "give a model folder, a .safetensors or .gguf file, or a Hub id such as owner/name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a model's tensors lie and what they are called; holds no values and no open file."""

    source: str
    """What the user gave: a path, a Hub id or `packaged:NAME`."""
    revision: str | None
    """The commit that a Hub id was pinned to; None for local files."""
    entries: tuple[TensorEntry, ...]
    """Every tensor, in natural order of its name (`layers.2` before `layers.10`)."""
    places: Mapping[str, Place]
    """Kind, layer, expert and role of each tensor, by name."""
    note: str | None = None
    """What the user should know about where it came from."""

    @property
    def num_params(self) -> int:
        """The number of weights that the checkpoint stores."""
        return sum(entry.num_params for entry in self.entries)

    @property
    def num_layers(self) -> int:
        """The number of blocks; of several stacks, that of the longest."""
        return len({place.layer for place in self.places.values()} - {None})


def read_bytes(entry: TensorEntry) -> NDArray[np.uint8]:
    """The tensor's bytes as they stand in its file, then its companions'; a writable 1-D array."""
    own = entry.file.read_range(entry.offset, entry.num_bytes)
    if not entry.companions:
        return own
    others = [other.file.read_range(other.offset, other.num_bytes) for other in entry.companions]
    return np.concatenate([own, *others])


def content_digest(raw: NDArray[np.uint8], entry: TensorEntry) -> str:
    """SHA-256 over the tensor's type, layout, shape and bytes, in hex: what decides its values."""
    packing = ""
    if entry.packing:
        parts = [f"{other.dtype} {list(other.shape)}" for other in entry.companions]
        packing = f" ({entry.packing.layout}; {'; '.join(parts)})"
    digest = hashlib.sha256(f"{entry.dtype}{packing} {list(entry.shape)}\n".encode())
    digest.update(raw.data)
    return digest.hexdigest()


def read_tensor(entry: TensorEntry) -> NDArray[np.float32] | NDArray[np.float64]:
    """The tensor's values, float32 (float64 if stored so), in its own shape."""
    return decode(read_bytes(entry), entry)


def fingerprint(entries: Iterable[TensorEntry]) -> str:
    """SHA-256 over the sorted (name, shape) pairs, in hex: which model it is."""
    pairs = sorted((entry.name, list(entry.shape)) for entry in entries)
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def open_checkpoint(source: str, *, allow_pickle: bool = False, stream: bool = False) -> Checkpoint:
    """The checkpoint that `source` names; only headers are read.

    `source` is a transformers folder, a .safetensors or .gguf file, a Hub id (`owner/name`,
    optionally `@revision`) or `packaged:NAME`. An existing path wins over a Hub id. Pickled
    weights are read only with `allow_pickle`, in a process of their own, tensors only. With
    `stream` a Hub id is not downloaded: its tensors will be read over the network when they are
    needed. The scales of a quantized weight are part of it, not tensors of their own.
    Raises `CheckpointError`.
    """
    revision = note = None
    if stream:
        return _open_stream(source)
    if not source:
        raise CheckpointError("no model given", _WHAT_TO_GIVE)
    if source.startswith(PACKAGED_PREFIX):
        path = packaged_path(source.removeprefix(PACKAGED_PREFIX))
    elif not os.path.exists(source) and is_hub_id(source):
        snapshot = fetch_from_hub(source)
        path, revision = snapshot.folder, snapshot.revision
        if snapshot.from_cache:
            note = f"The Hub gave no answer; using commit {revision[:12]} from its local cache."
    else:
        path = Path(source)
    entries = _read_path(path, allow_pickle=allow_pickle)
    if not entries:
        raise CheckpointError(f"{path}: holds no tensors", "download the checkpoint again")
    entries = recognise(entries, _config_beside(path, entries))
    return _checkpoint(source, revision, entries, note)


def _config_beside(path: Path, entries: Iterable[TensorEntry]) -> Mapping[str, Any]:
    """The config in the folder `path`, or in that of the file `path`; {} where there is none.

    A damaged one is an error only where the weights may be quantized: otherwise nothing asks.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / CONFIG).exists():
        return {}
    try:
        return read_config_table(folder)
    except CheckpointError:
        if any(unreadable_type(entry.dtype) for entry in entries):
            raise
        return {}


def _checkpoint(
    source: str, revision: str | None, entries: Sequence[TensorEntry], note: str | None
) -> Checkpoint:
    ordered = tuple(sorted(entries, key=lambda entry: natural_key(entry.name)))
    places = place_tensors([entry.name for entry in ordered])
    return Checkpoint(source=source, revision=revision, entries=ordered, places=places, note=note)


def _open_stream(source: str) -> Checkpoint:
    if os.path.exists(source) or not is_hub_id(source):
        raise CheckpointError(
            f"{source}: only models on the Hub are streamed",
            "leave --stream out, or give owner/name",
        )
    from spectrum_ft.checkpoints.streams.hub_streams import stream_from_hub

    found = stream_from_hub(source)
    entries = recognise(found.entries, found.config or {})
    return _checkpoint(source, found.revision, entries, None)


def _read_path(path: Path, *, allow_pickle: bool) -> tuple[TensorEntry, ...]:
    if os.path.isdir(path):
        pickles = pickles_in(path) if allow_pickle else ()
        has_others = any(next(path.glob(f"*{suffix}"), None) for suffix in HEADER_READERS)
        return convert_pickles(pickles) if pickles and not has_others else read_folder(path)
    if not os.path.exists(path):
        raise CheckpointError(f"{path}: no such file or folder", _WHAT_TO_GIVE)
    if path.suffix in HEADER_READERS:
        return HEADER_READERS[path.suffix](path)
    if path.suffix in PICKLE_SUFFIXES and allow_pickle:
        return convert_pickles([path])
    raise _not_weights(path)


def _not_weights(path: Path) -> CheckpointError:
    if path.suffix in PICKLE_SUFFIXES:
        return CheckpointError(
            f"{path}: pickled weights can run code when they are read",
            "convert it to safetensors, or pass --allow-pickle if you trust its author",
        )
    return CheckpointError(
        f"{path}: not a weight file that can be read",
        "give a model folder, a .safetensors file or a .gguf file",
    )
