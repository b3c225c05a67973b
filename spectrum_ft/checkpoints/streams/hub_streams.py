"""A model on the Hub as a list of tensors that are read where they are: nothing is downloaded."""

from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from spectrum_ft.checkpoints.config_file import CONFIG, MAX_CONFIG_BYTES, parse_config
from spectrum_ft.checkpoints.hub import INDEX, ask_hub, quiet_hub, split_hub_id, weight_file
from spectrum_ft.checkpoints.hub_errors import no_answer, out_of_reach
from spectrum_ft.checkpoints.index import (
    MAX_INDEX_BYTES,
    check_present,
    join_shards,
    tensors_by_shard,
)
from spectrum_ft.checkpoints.safetensors_file import entries_of
from spectrum_ft.checkpoints.streams.remote_files import CACHE_UNUSED, open_remote, read_remote
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError

# The header of a shard of 4 GB is mostly shorter than this, so that one request brings it.
_START_BYTES = 2**17

# Headers are small and far away: what costs is the way.
_HEADERS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStream:
    """One commit of a model repository, of which headers, index and config have been read."""

    repo_id: str
    """The repository as it was asked for."""
    revision: str
    """The commit that it was pinned to: 40 hex digits."""
    entries: tuple[TensorEntry, ...]
    """Every tensor as stored, in files on the Hub."""
    config: Mapping[str, Any] | None
    """Its `config.json`; None if it has none."""


def stream_from_hub(hub_id: str) -> HubStream:
    """The model's tensors, to be read from the Hub when they are needed; nothing goes to disk.

    Raises `CheckpointError` if the Hub gives no answer or refuses, has no safetensors weights, or
    has files that are malformed or do not fit together.
    """
    repo_id, revision = split_hub_id(hub_id)
    with quiet_hub():
        try:
            listing = ask_hub(repo_id, revision)
        except no_answer() as error:
            raise out_of_reach(repo_id, revision, error, CACHE_UNUSED) from error
    commit, weights = listing.commit, weight_file(repo_id, listing.names)
    if not weights.endswith((".safetensors", INDEX)):
        raise CheckpointError(
            f"{repo_id}: {ascii(weights)[1:-1][:80]} cannot be streamed, only safetensors files",
            "leave --stream out to download it",
        )
    config = None
    if CONFIG in listing.names:
        data = read_remote(repo_id, commit, CONFIG, MAX_CONFIG_BYTES)
        config = parse_config(data, f"{repo_id}: {CONFIG}")
    if weights == INDEX:
        entries = _sharded(repo_id, commit, listing.names)
    else:
        entries = _entries(repo_id, commit, weights)
    if not entries:
        raise CheckpointError(f"{repo_id}: holds no tensors", "choose another revision")
    return HubStream(repo_id=repo_id, revision=commit, entries=entries, config=config)


def _sharded(repo_id: str, commit: str, names: Set[str]) -> tuple[TensorEntry, ...]:
    """Every tensor of the shards that the index names, all of which are among `names`."""
    index = f"{repo_id}: {INDEX}"
    by_shard = tensors_by_shard(read_remote(repo_id, commit, INDEX, MAX_INDEX_BYTES), index)
    check_present(by_shard.keys(), names, index)
    pool = ThreadPoolExecutor(_HEADERS_AT_ONCE)
    try:
        shards = sorted(by_shard)
        read = pool.map(lambda shard: _entries(repo_id, commit, shard), shards)
        held = dict(zip(shards, read, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
    return join_shards(by_shard, held.__getitem__, index)


def _entries(repo_id: str, commit: str, path: str) -> tuple[TensorEntry, ...]:
    """The tensors of one safetensors file."""
    file, start = open_remote(repo_id, commit, path, _START_BYTES)

    def read(offset: int, num_bytes: int) -> bytes:
        if offset + num_bytes <= len(start):
            return start[offset : offset + num_bytes]
        return file.read_range(offset, num_bytes).tobytes()

    return entries_of(file, file.pin.num_bytes, read)
