"""`model.safetensors.index.json`: which shard holds which tensor, checked before any is opened."""

from collections import defaultdict
from collections.abc import Mapping
from os.path import exists
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn

import numpy as np

from spectrum_ft.checkpoints.file_reading import identity, read_range, reading
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
    weight_map = _weight_map(index)
    by_shard: dict[str, set[str]] = defaultdict(set)
    for tensor, shard in weight_map.items():
        by_shard[shard].add(tensor)
    shards = {shard: _inside(index, shard) for shard in by_shard}
    _check_present(index, shards)
    entries: dict[str, TensorEntry] = {}
    for shard in sorted(by_shard):
        held = {entry.name: entry for entry in read_safetensors_header(shards[shard])}
        absent = sorted(by_shard[shard] - held.keys())
        if absent:
            _refuse(index, f"{shard} lacks {len(absent)} of its tensors: {few_names(absent)}")
        for name in entries.keys() & held.keys():
            _check_equal(index, entries[name], held[name])
        # A tensor that the index forgot is kept: transformers loads it too.
        entries |= held
    return tuple(entries.values())


def _refuse(index: Path, what: str, hint: str = "download the checkpoint again") -> NoReturn:
    raise CheckpointError(f"{index}: {what}", hint)


def _weight_map(index: Path) -> Mapping[str, str]:
    with reading(index) as file:
        if identity(file).num_bytes > MAX_INDEX_BYTES:
            _refuse(index, f"larger than {MAX_INDEX_BYTES:,} bytes")
        data = file.read()
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
        _refuse(index, f"the shard {shard!a} is a link that leads nowhere")
    blobs = folder.parent.parent / "blobs"
    in_hub_cache = folder.parent.name == "snapshots" and target.is_relative_to(blobs)
    if not target.is_relative_to(folder) and not in_hub_cache:
        _refuse(
            index,
            f"the shard {shard!a} is a link out of its folder",
            "replace the link with the file itself",
        )
    return path


def _check_present(index: Path, shards: Mapping[str, Path]) -> None:
    missing = sorted(shard for shard, path in shards.items() if not exists(path))
    if missing:
        _refuse(index, f"{len(missing)} of {len(shards)} shards are missing: {few_names(missing)}")


def _check_equal(index: Path, one: TensorEntry, other: TensorEntry) -> None:
    same = (one.dtype, one.shape) == (other.dtype, other.shape) and np.array_equal(
        read_range(one.file, one.offset, one.num_bytes, one.identity),
        read_range(other.file, other.offset, other.num_bytes, other.identity),
    )
    if not same:
        _refuse(
            index,
            f"{ascii(one.name)[1:-1][:100]} is in {one.file.name} and in {other.file.name}, "
            "with different values",
        )
