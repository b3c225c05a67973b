"""Models read from a Hub where they are: the same tensors, nothing on disk, no token to others."""

import json
import pickle
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from local_hub import COMMIT, INDEX, SHARDS, WANTED, FileServer, Hub, in_reach, index_of, shard
from making import raw_safetensors, tensor_info, write_llama
from spectrum_ft.checkpoints.checkpoint import (
    content_digest,
    fingerprint,
    open_checkpoint,
    read_bytes,
    read_tensor,
)
from spectrum_ft.checkpoints.config_file import MAX_CONFIG_BYTES
from spectrum_ft.checkpoints.streams.hub_streams import HubStream, stream_from_hub
from spectrum_ft.checkpoints.streams.remote_files import RemoteFile
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError

SINGLE = "model.safetensors"
UP = "model.layers.{}.mlp.up_proj.weight"

READ_ELSEWHERE = """
import hashlib, json, os, pickle, sys
from spectrum_ft.checkpoints.streams.hub_streams import stream_from_hub
streamed = stream_from_hub(sys.argv[1])
with open(sys.argv[2], "rb") as file:
    sent = pickle.load(file)
def digest(entries):
    parts = [entry.file.read_range(entry.offset, entry.num_bytes) for entry in entries]
    return hashlib.sha256(b"".join(parts)).hexdigest()
home = os.environ["HF_HOME"]
print(json.dumps({"own": digest(streamed.entries), "sent": digest(sent),
                  "kept": sorted(os.listdir(home)) if os.path.exists(home) else []}))
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(tmp_path / "huggingface")
    monkeypatch.setenv("HF_HOME", str(hub.home))
    with in_reach(hub.endpoint, monkeypatch):
        yield hub
    hub.stop()


@pytest.fixture
def store(hub: Hub) -> Iterator[FileServer]:
    """Where the Hub has its large files: another host, by its port."""
    hub.store = FileServer({})
    yield hub.store
    hub.store.stop()


def serve(hub: Hub, folder: Path) -> None:
    hub.repositories["acme/llama"] = {path.name: path.read_bytes() for path in folder.iterdir()}


def read(stream: HubStream) -> dict[str, np.ndarray]:
    return {entry.name: read_tensor(entry) for entry in stream.entries}


def by_name(entries: tuple[TensorEntry, ...]) -> Mapping[str, tuple[object, ...]]:
    return {e.name: (e.shape, e.dtype, e.offset, e.num_bytes) for e in entries}


def refusal(hub_id: str) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        stream_from_hub(hub_id)
    assert hub_id.split("@")[0] in caught.value.message
    assert len(caught.value.message) <= 300
    return caught.value


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_stream_holds_what_a_download_holds(
    hub: Hub, tmp_path: Path, shards: int, elsewhere: bool
) -> None:
    stored = write_llama(tmp_path / "llama", layers=4, dtype="BF16", shards=shards)
    serve(hub, tmp_path / "llama")
    if elsewhere:
        hub.store = FileServer({})
    stream = stream_from_hub("acme/llama@v1")
    assert (stream.repo_id, stream.revision) == ("acme/llama", COMMIT)
    assert stream.config == json.loads((tmp_path / "llama" / "config.json").read_text())
    assert by_name(stream.entries) == by_name(open_checkpoint(str(tmp_path / "llama")).entries)
    values = read(stream)
    assert values.keys() == stored.keys()
    assert all(np.array_equal(values[name], stored[name]) for name in stored)
    assert {request.split("/")[0] for request in hub.requested()} == {COMMIT}
    if hub.store:
        hub.store.stop()


def test_a_stream_is_the_same_checkpoint(hub: Hub, store: FileServer, tmp_path: Path) -> None:
    write_llama(tmp_path / "llama", layers=4, shards=2)
    serve(hub, tmp_path / "llama")
    here = open_checkpoint(str(tmp_path / "llama"))
    there = open_checkpoint("acme/llama", stream=True)
    assert (there.source, there.revision) == ("acme/llama", COMMIT)
    assert fingerprint(there.entries) == fingerprint(here.entries)
    assert there.places == here.places
    for one, other in zip(here.entries, there.entries, strict=True):
        assert content_digest(read_bytes(one), one) == content_digest(read_bytes(other), other)


def test_a_header_that_is_long_takes_a_second_request(hub: Hub) -> None:
    infos = {f"t{i:05}": tensor_info("F32", (1,), 4 * i) for i in range(3000)}
    data = np.arange(3000, dtype="<f4")
    hub.repositories["acme/llama"] = {SINGLE: raw_safetensors(infos, data.tobytes())}
    entries = stream_from_hub("acme/llama").entries
    assert len(hub.log) == 3
    assert len(entries) == 3000
    assert read_tensor(entries[2999])[0] == 2999


def test_nothing_is_kept_and_entries_can_be_sent_to_another_process(
    hub: Hub, tmp_path: Path
) -> None:
    write_llama(tmp_path / "llama", layers=4, shards=2)
    serve(hub, tmp_path / "llama")
    hub.store = FileServer({})
    entries = stream_from_hub("acme/llama").entries
    sent = tmp_path / "entries"
    sent.write_bytes(pickle.dumps(entries))
    assert pickle.loads(sent.read_bytes()) == entries
    assert b"hf_secret" not in sent.read_bytes()
    told = hub.run(READ_ELSEWHERE, "acme/llama", str(sent), HF_TOKEN="hf_secret")
    assert told["own"] == told["sent"]
    assert told["kept"] == []
    assert not hub.home.exists()
    hub.store.stop()


def test_the_token_is_sent_to_the_hub_and_nowhere_else(
    hub: Hub, store: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    read(stream_from_hub("acme/tiny"))
    assert set(hub.tokens) == {"Bearer hf_secret"}
    assert len(store.requests) >= 4
    for request in store.requests:
        assert not {"authorization", "cookie"} & {name.lower() for name in request}
        assert "hf_secret" not in str(request)


def test_neither_are_credentials_of_a_client_that_the_user_has_set_up(
    hub: Hub, store: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import get_session

    client = get_session()
    client.headers["Authorization"] = "Bearer hf_secret"
    client.cookies.set("token", "hf_secret")
    client.auth = ("me", "hf_secret")
    read(stream_from_hub("acme/tiny"))
    assert len(store.requests) >= 4
    for request in store.requests:
        assert not {"authorization", "cookie"} & {name.lower() for name in request}


def test_no_token_is_sent_where_the_user_does_not_want_it(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    read(stream_from_hub("acme/tiny"))
    assert set(hub.tokens) == {None}


def test_a_file_that_changes_after_its_header_was_read_is_refused(
    hub: Hub, store: FileServer
) -> None:
    first, second = stream_from_hub("acme/tiny").entries
    hub.repositories["acme/tiny"] = WANTED | {SHARDS[0]: shard(0)[:-1] + b"\x01"}
    with pytest.raises(CheckpointError, match=r"changed since its header was read \(its ETag"):
        read_tensor(first)
    assert read_tensor(second)[0, 0] == 1
    hub.repositories["acme/tiny"] = WANTED | {SHARDS[0]: shard(0) + b"\x01"}
    with pytest.raises(CheckpointError, match=r"changed since its header was read \(") as caught:
        read_tensor(first)
    assert caught.value.message.startswith(f"hf://acme/tiny@{COMMIT}/{SHARDS[0]}: ")


def test_a_store_that_disagrees_with_the_hub_on_the_size_is_refused(
    hub: Hub, store: FileServer
) -> None:
    store.faults = [lambda handler, body: handler.send_file(body + b"more")]
    assert "by the Hub's word, but" in refusal("acme/tiny").message


def test_an_address_that_has_expired_is_asked_for_anew_once(hub: Hub, store: FileServer) -> None:
    first, _ = stream_from_hub("acme/tiny").entries
    store.faults = [lambda handler, body: handler.send(403)]
    hub.log.clear()
    assert read_tensor(first)[0, 0] == 0
    assert len(hub.log) == 2
    store.faults = [lambda handler, body: handler.send(403)] * 2
    with pytest.raises(CheckpointError, match=r"cannot be read \(the Hub's address for it was"):
        read_tensor(first)
    assert len(hub.log) == 4


def test_a_store_that_lacks_a_file_is_told(hub: Hub, store: FileServer) -> None:
    first, _ = stream_from_hub("acme/tiny").entries
    store.faults = [lambda handler, body: handler.send(404)]
    with pytest.raises(CheckpointError, match="the server that the Hub names for it answered 404"):
        read_tensor(first)


@pytest.mark.parametrize("length", [2**60, 2**63, 2**64 - 1, 100_000_001, 3])
def test_a_header_beyond_bounds_is_refused_before_it_is_asked_for(hub: Hub, length: int) -> None:
    hub.repositories["acme/llama"] = {SINGLE: struct.pack("<Q", length) + b"{}" + bytes(length < 9)}
    error = refusal("acme/llama")
    assert "at most 100,000,000 are allowed" in error.message or length == 3
    assert len(hub.requested()) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "the file is empty"),
        (b"\x80", "too short for a safetensors file (1 bytes)"),
        (b"<!DOCTYPE html><html></html>", "an HTML or XML page"),
        (shard(0)[:-1], "truncated: 1 bytes of tensor data are missing"),
        (raw_safetensors(b'{"a": NaN}', b""), "bad header"),
        (raw_safetensors({}, b""), "holds no tensors"),
    ],
)
def test_a_file_of_another_kind_is_refused(hub: Hub, body: bytes, told: str) -> None:
    hub.repositories["acme/llama"] = {SINGLE: body}
    error = refusal("acme/llama")
    assert told in error.message


@pytest.mark.parametrize(
    ("hub_id", "message", "hint"),
    [
        ("acme/gone", "has no such model", "check the spelling"),
        ("acme/private", "or it is private", "`hf auth login` or set HF_TOKEN"),
        ("acme/gated", "accepted its terms", "`hf auth login` or set HF_TOKEN"),
        ("acme/tiny@v9", "no branch, tag or commit v9", "leave @v9 out"),
        ("acme/down", "answered 503), and a stream does not use what is in", "a local folder"),
        ("acme/portal", "cannot be reached (Expecting value", "a local folder"),
        ("acme/pickled", "only pickled weights (pytorch_model.bin)", "--allow-pickle"),
        ("acme/ggml", "tiny.gguf cannot be streamed", "leave --stream out"),
        ("acme/quants", "4 .gguf files", "`hf download acme/quants FILE`"),
        ("acme/escaping", "not a plain name of a .safetensors file", "do not use"),
        ("acme/lacking", f"1 of 2 shards are missing: {SHARDS[1]}", "again"),
    ],
)
def test_a_stream_that_cannot_be_says_why(hub: Hub, hub_id: str, message: str, hint: str) -> None:
    error = refusal(hub_id)
    assert message in error.message
    assert hint in (error.hint or "")
    assert not [name for name in hub.requested() if "x.safetensors" in name]


def test_index_and_shards_must_agree(hub: Hub) -> None:
    index = index_of(*SHARDS).replace(b"layers.1.", b"layers.9.")
    hub.repositories["acme/llama"] = WANTED | {INDEX: index}
    assert "lacks 1 of its tensors: model.layers.9." in refusal("acme/llama").message
    for value in (0.0, 9.0):
        both = {UP.format(i): np.full((16, 16), value + i, dtype=np.float32) for i in (0, 1)}
        hub.repositories["acme/llama"] = WANTED | {SHARDS[1]: save(both)}
        if value:
            told = f"is in {SHARDS[0]} and in {SHARDS[1]}, with different values"
            assert told in refusal("acme/llama").message
        else:
            assert len(stream_from_hub("acme/llama").entries) == 2


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (b"[]", "acme/llama: config.json: not a table"),
        (b"{", "acme/llama: config.json: not JSON"),
        (b" " * (MAX_CONFIG_BYTES + 1), "larger than 16,777,216 bytes"),
    ],
)
def test_a_config_that_is_none_is_refused(hub: Hub, config: bytes, told: str) -> None:
    hub.repositories["acme/llama"] = WANTED | {"config.json": config}
    assert told in refusal("acme/llama").message


def test_a_model_may_lack_a_config(hub: Hub) -> None:
    hub.repositories["acme/llama"] = {SINGLE: shard(0)}
    assert stream_from_hub("acme/llama").config is None


def test_without_a_network_or_offline_a_stream_says_so(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    (first, _) = stream_from_hub("acme/tiny").entries
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    error = refusal("acme/tiny")
    assert "offline mode is on" in error.message
    assert "unset HF_HUB_OFFLINE" in (error.hint or "")
    with pytest.raises(CheckpointError, match="offline mode is on"):
        read_tensor(first)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.server.server_close()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached ([Errno 111] Connection refused)" in refusal("acme/tiny").message


def test_a_model_that_is_taken_away_meanwhile_is_told(hub: Hub) -> None:
    (first, _) = stream_from_hub("acme/tiny").entries
    assert isinstance(first.file, RemoteFile)
    gated = RemoteFile(repo_id="acme/gated", commit=COMMIT, path=SHARDS[0], pin=first.file.pin)
    with pytest.raises(CheckpointError, match="accepted its terms"):
        gated.read_range(0, 1)
