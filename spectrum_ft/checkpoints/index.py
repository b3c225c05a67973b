"""`model.safetensors.index.json`: which shard holds which tensor, checked before any is opened."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Set
from os.path import exists
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn

import numpy as np

from spectrum_ft.checkpoints.file_reading import identity, reading
from spectrum_ft.checkpoints.safetensors_file import read_safetensors_header
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError, few_names
from spectrum_ft.strict_json import JsonFault, parse_json

MAX_INDEX_BYTES = 256 * 2**20
"""Ten times the index of the largest published model (a 671B mixture of experts: 9 MB)."""


def read_sharded(index: Path) -> tuple[TensorEntry, ...]:
    """Every tensor that `index` names, from the headers of its shards.

    Raises `CheckpointError` if the index is malformed, a shard's name could leave the folder or
    is no safetensors file, a shard is missing, or index and shards disagree.
    """
    name = str(index)
    by_shard = tensors_by_shard(_bytes_of(index), name)
    shards = {shard: _inside(index, shard) for shard in by_shard}
    check_present(by_shard.keys(), {s for s, path in shards.items() if exists(path)}, name)
    return join_shards(by_shard, lambda shard: read_safetensors_header(shards[shard]), name)


def tensors_by_shard(data: bytes, index: str) -> Mapping[str, set[str]]:
    """The tensors that each shard must hold, from the bytes of an index of the name `index`.

    Every shard's name is one path component. Raises `CheckpointError`, as do those below.
    """
    by_shard: dict[str, set[str]] = defaultdict(set)
    for tensor, shard in _weight_map(data, index).items():
        by_shard[shard].add(tensor)
    return dict(by_shard)


def check_present(shards: Set[str], there: Set[str], index: str) -> None:
    """Refuse an index that names other shards than those that are `there`."""
    missing = sorted(shards - there)
    if missing:
        _refuse(index, f"{len(missing)} of {len(shards)} shards are missing: {few_names(missing)}")


def join_shards(
    by_shard: Mapping[str, set[str]],
    read_header: Callable[[str], tuple[TensorEntry, ...]],
    index: str,
) -> tuple[TensorEntry, ...]:
    """The tensors of all shards, of which `read_header` lists one's, checked against the index."""
    entries: dict[str, TensorEntry] = {}
    for shard in sorted(by_shard):
        held = {entry.name: entry for entry in read_header(shard)}
        absent = sorted(by_shard[shard] - held.keys())
        if absent:
            _refuse(index, f"{shard} lacks {len(absent)} of its tensors: {few_names(absent)}")
        for name in entries.keys() & held.keys():
            _check_equal(index, entries[name], held[name])
        # A tensor that the index forgot is kept: transformers loads it too.
        entries |= held
    return tuple(entries.values())


def _refuse(index: str, what: str, hint: str = "download the checkpoint again") -> NoReturn:
    raise CheckpointError(f"{index}: {what}", hint)


def _bytes_of(index: Path) -> bytes:
    with reading(index) as file:
        if identity(file).num_bytes > MAX_INDEX_BYTES:
            _refuse(str(index), f"larger than {MAX_INDEX_BYTES:,} bytes")
        return file.read()


def _weight_map(data: bytes, index: str) -> Mapping[str, str]:
    try:
        table: Any = parse_json(data)
    except JsonFault as fault:
        _refuse(index, str(fault))
    weight_map = table.get("weight_map") if isinstance(table, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        _refuse(index, "has no weight_map")
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or not _is_plain_name(shard):
            _refuse(
                index,
                f"places {ascii(tensor)[:100]} in {ascii(shard)[:100]}, "
                "which is not a plain name of a .safetensors file in this folder",
                "do not use this checkpoint unless you trust its author, and mend the index",
            )
    return weight_map


def _is_plain_name(shard: str) -> bool:
    """Whether `shard` is one path component, by POSIX and by Windows rules, ending as it must."""
    return (
        shard.endswith(".safetensors")
        and "\0" not in shard
        and ":" not in shard
        and not shard.startswith("~")
        and PurePosixPath(shard).name == shard
        and PureWindowsPath(shard).name == shard
    )


def _inside(index: Path, shard: str) -> Path:
    """The shard's path; refused if a symlink leads it out of the folder.

    The Hub's cache links `snapshots/<revision>/<file>` to `blobs/<digest>` of the same
    repository: that link is the one exception.
    """
    folder = index.parent.resolve()
    path = index.parent / shard
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # a loop of links
        _refuse(str(index), f"the shard {shard!a} is a link that leads nowhere")
    blobs = folder.parent.parent / "blobs"
    in_hub_cache = folder.parent.name == "snapshots" and target.is_relative_to(blobs)
    if not target.is_relative_to(folder) and not in_hub_cache:
        _refuse(
            str(index),
            f"the shard {shard!a} is a link out of its folder",
            "replace the link with the file itself",
        )
    return path


def _check_equal(index: str, one: TensorEntry, other: TensorEntry) -> None:
    same = (one.dtype, one.shape) == (other.dtype, other.shape) and np.array_equal(
        one.file.read_range(one.offset, one.num_bytes),
        other.file.read_range(other.offset, other.num_bytes),
    )
    if not same:
        _refuse(
            index,
            f"{ascii(one.name)[1:-1][:100]} is in {_base_name(one)} and in {_base_name(other)}, "
            "with different values",
        )


def _base_name(entry: TensorEntry) -> str:
    return PurePosixPath(entry.file.name).name
