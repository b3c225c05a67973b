"""The index of a sharded checkpoint: what it may name, and what its shards must hold."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from making import assert_fit_to_show, raw_safetensors, tensor_info, write_index, write_llama
from spectrum_ft.checkpoints.checkpoint import read_tensor
from spectrum_ft.checkpoints.index import MAX_INDEX_BYTES, read_sharded
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError

ONE = "model-00001-of-00002.safetensors"
TWO = "model-00002-of-00002.safetensors"

NOT_PLAIN_NAMES = {
    "IX-03 number": 3,
    "IX-03 list": [ONE],
    "IX-03 null": None,
    "IX-03 table": {},
    "IX-03 empty": "",
    "IX-03 dot": ".",
    "IX-03 dots": "..",
    "IX-03 NUL": "a\0.safetensors",
    "IX-03 NUL at the end": f"{ONE}\0",
    "IX-03 other ending": "model.bin",
    "IX-03 ending in capitals": "model.SAFETENSORS",
    "IX-04 parent": "../x.safetensors",
    "IX-04 parent of a folder": "a/../../x.safetensors",
    "IX-04 parent, the Windows way": "..\\x.safetensors",
    "IX-04 parent, mixed": "a\\../..\\x.safetensors",
    "IX-04 folder": "a/x.safetensors",
    "IX-04 folder, the Windows way": "a\\x.safetensors",
    "IX-04 here": "./x.safetensors",
    "IX-04 slash at the end": f"{ONE}/",
    "IX-05 absolute": "/x.safetensors",
    "IX-05 two slashes": "//server/share/x.safetensors",
    "IX-05 absolute, the Windows way": "\\x.safetensors",
    "IX-05 drive": "C:\\x.safetensors",
    "IX-05 drive, relative": "C:x.safetensors",
    "IX-05 UNC": "\\\\server\\share\\x.safetensors",
    "IX-05 device": "\\\\.\\x.safetensors",
    "IX-05 URL": "file:///x.safetensors",
    "IX-05 stream": "a.safetensors:b.safetensors",
    "IX-05 home": "~/x.safetensors",
    "IX-05 home of another": "~root.safetensors",
    "IX-05 variable": "$HOME/x.safetensors",
}


def refusal(index: Path) -> CheckpointError:
    """Why `index` is refused, checked to be fit for one line of a terminal."""
    with pytest.raises(CheckpointError) as caught:
        read_sharded(index)
    assert_fit_to_show(caught.value, index)
    return caught.value


def write_shard(path: Path, **values: float) -> None:
    """A shard of float32 tensors of one weight each."""
    infos = {name: tensor_info("F32", (1,), 4 * i) for i, name in enumerate(values)}
    data = np.array(list(values.values()), dtype="<f4").tobytes()
    path.write_bytes(raw_safetensors(infos, data))


def two_shards(folder: Path) -> Path:
    write_shard(folder / ONE, a=1)
    write_shard(folder / TWO, b=2)
    return write_index(folder, {"a": ONE, "b": TWO})


def values_of(entries: tuple[TensorEntry, ...]) -> dict[str, list[float]]:
    return {entry.name: read_tensor(entry).tolist() for entry in entries}


def test_every_tensor_is_found_in_its_shard(tmp_path: Path) -> None:
    written = write_llama(tmp_path, layers=2, shards=3)
    entries = read_sharded(tmp_path / "model.safetensors.index.json")
    assert {entry.name for entry in entries} == set(written)
    for entry in entries:
        np.testing.assert_array_equal(read_tensor(entry), written[entry.name])


@pytest.mark.parametrize("case", NOT_PLAIN_NAMES)
def test_a_shard_s_name_that_is_no_plain_file_name_is_refused(tmp_path: Path, case: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    # Where a careless reader might end up.
    write_shard(tmp_path / "x.safetensors", a=1)
    write_shard(folder / "x.safetensors", a=1)
    error = refusal(write_index(folder, {"a": NOT_PLAIN_NAMES[case]}))
    assert "which is not a plain name of a .safetensors file in this folder" in error.message


def test_a_name_is_never_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_shard(tmp_path / "$HOME.safetensors", a=1)
    write_shard(tmp_path / "%2e%2e.safetensors", b=2)
    index = write_index(tmp_path, {"a": "$HOME.safetensors", "b": "%2e%2e.safetensors"})
    assert values_of(read_sharded(index)) == {"a": [1], "b": [2]}


INDEXES = {
    "IX-03 empty map": (b'{"weight_map": {}}', "has no weight_map"),
    "IX-03 no map": (b'{"metadata": {}}', "has no weight_map"),
    "IX-03 map a list": (b'{"weight_map": ["a"]}', "has no weight_map"),
    "IX-03 index a list": (b"[]", "has no weight_map"),
    "IX-03 not JSON": (b"<html>", "not JSON"),
    "IX-03 empty file": (b"", "not JSON"),
    "IX-03 not UTF-8": (b'{"weight_map": {"\xff": "a"}}', "not UTF-8"),
    "IX-03 nested": (b'{"a":' * 100_000, "nested too deeply"),
    "IX-13 a tensor twice": (
        b'{"weight_map": {"a": "1.safetensors", "a": "2.safetensors"}}',
        "'a' appears twice",
    ),
    "IX-13 two maps": (
        b'{"weight_map": {"a": "1.safetensors"}, "weight_map": {}}',
        "'weight_map' appears twice",
    ),
}


@pytest.mark.parametrize("case", INDEXES)
def test_a_malformed_index_is_refused_with_the_reason(tmp_path: Path, case: str) -> None:
    content, expected = INDEXES[case]
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(content)
    assert expected in refusal(index).message


def test_an_index_of_absurd_size_is_refused_unread(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    with index.open("wb") as file:
        file.truncate(MAX_INDEX_BYTES + 1)
    assert "larger than" in refusal(index).message


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["folder", "FIFO"])
def test_an_index_or_a_shard_that_is_not_a_file_is_refused_without_waiting(
    tmp_path: Path, kind: str
) -> None:
    make = Path.mkdir if kind == "folder" else os.mkfifo
    make(tmp_path / "model.safetensors.index.json")
    assert "not a regular file" in refusal(tmp_path / "model.safetensors.index.json").message
    folder = tmp_path / "other"
    folder.mkdir()
    index = two_shards(folder)
    (folder / TWO).unlink()
    make(folder / TWO)
    with pytest.raises(CheckpointError, match="not a regular file") as caught:
        read_sharded(index)
    assert_fit_to_show(caught.value, folder / TWO)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    index = two_shards(tmp_path)
    os.truncate(tmp_path / TWO, 20)
    with pytest.raises(CheckpointError, match="truncated") as caught:
        read_sharded(index)
    assert_fit_to_show(caught.value, tmp_path / TWO)


@pytest.mark.parametrize("target", ["../outside.safetensors", "absolute", "../chain.safetensors"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, target: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    index = two_shards(folder)
    outside = tmp_path / "outside.safetensors"
    (folder / TWO).rename(outside)
    (tmp_path / "chain.safetensors").symlink_to(outside)
    (folder / TWO).symlink_to(outside if target == "absolute" else target)
    assert f"'{TWO}' is a link out of its folder" in refusal(index).message


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    index = two_shards(folder)
    (folder / "parts").mkdir()
    (folder / TWO).rename(folder / "parts" / "two")
    (folder / TWO).symlink_to("parts/two")
    assert values_of(read_sharded(index)) == {"a": [1], "b": [2]}


def test_a_folder_that_is_itself_a_link_may_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    two_shards(folder)
    (tmp_path / "link").symlink_to("model")
    index = tmp_path / "link" / "model.safetensors.index.json"
    assert values_of(read_sharded(index)) == {"a": [1], "b": [2]}


def hub_cache(root: Path) -> Path:
    """The index of a snapshot in a cache of the Hub, whose files are links to blobs."""
    repository = root / "models--owner--name"
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    blobs = repository / "blobs"
    blobs.mkdir()
    index = two_shards(snapshot)
    for number, path in enumerate([snapshot / ONE, snapshot / TWO, index]):
        path.rename(blobs / f"{number:064x}")
        path.symlink_to(f"../../blobs/{number:064x}")
    return index


def test_the_links_of_the_hub_s_cache_are_followed(tmp_path: Path) -> None:
    assert values_of(read_sharded(hub_cache(tmp_path))) == {"a": [1], "b": [2]}


def test_a_link_out_of_the_hub_s_blobs_is_refused(tmp_path: Path) -> None:
    index = hub_cache(tmp_path)
    repository = index.parents[2]
    write_shard(tmp_path / "outside", b=2)
    write_shard(repository / "elsewhere", b=2)
    for target in ("../../../outside", "../../elsewhere"):
        (index.parent / TWO).unlink()
        (index.parent / TWO).symlink_to(target)
        assert "is a link out of its folder" in refusal(index).message


@pytest.mark.parametrize("kind", ["to itself", "in a ring", "through its own folder"])
def test_a_loop_of_links_is_refused(tmp_path: Path, kind: str) -> None:
    index = two_shards(tmp_path)
    (tmp_path / TWO).unlink()
    match kind:
        case "to itself":
            (tmp_path / TWO).symlink_to(TWO)
        case "in a ring":
            (tmp_path / TWO).symlink_to("ring")
            (tmp_path / "ring").symlink_to(TWO)
        case _:
            (tmp_path / "again").symlink_to(".")
            (tmp_path / TWO).symlink_to(f"again/{TWO}")
    assert TWO in refusal(index).message


def test_missing_shards_are_listed(tmp_path: Path) -> None:
    index = two_shards(tmp_path)
    (tmp_path / TWO).unlink()
    error = refusal(index)
    assert f"1 of 2 shards are missing: {TWO}" in error.message
    assert error.hint == "download the checkpoint again"


def test_many_missing_shards_are_counted_and_the_first_listed(tmp_path: Path) -> None:
    names = [f"model-{i:05d}-of-00100.safetensors" for i in range(1, 101)]
    index = write_index(tmp_path, {f"t{i}": name for i, name in enumerate(names)})
    message = refusal(index).message
    assert "100 of 100 shards are missing" in message
    assert all(name in message for name in names[:3])
    assert "and 97 more" in message


def test_a_dangling_link_counts_as_missing(tmp_path: Path) -> None:
    index = two_shards(tmp_path)
    (tmp_path / TWO).unlink()
    (tmp_path / TWO).symlink_to("gone")
    assert f"1 of 2 shards are missing: {TWO}" in refusal(index).message


def test_a_name_longer_than_file_names_may_be_counts_as_missing(tmp_path: Path) -> None:
    index = write_index(tmp_path, {"a": "x" * 300 + ".safetensors"})
    assert "1 of 1 shards are missing" in refusal(index).message


def test_a_tensor_that_its_shard_lacks_is_named(tmp_path: Path) -> None:
    two_shards(tmp_path)
    index = write_index(tmp_path, {"a": ONE, "b": ONE, "\x1b[2J": TWO})
    assert f"{ONE} lacks 1 of its tensors: b" in refusal(index).message


def test_a_tensor_that_the_index_forgot_is_kept(tmp_path: Path) -> None:
    two_shards(tmp_path)
    write_shard(tmp_path / TWO, b=2, forgotten=3)
    index = write_index(tmp_path, {"a": ONE, "b": TWO})
    assert values_of(read_sharded(index)) == {"a": [1], "b": [2], "forgotten": [3]}


def test_a_shard_that_the_index_does_not_name_is_not_read(tmp_path: Path) -> None:
    index = two_shards(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    assert set(values_of(read_sharded(index))) == {"a", "b"}


def test_a_tensor_may_be_in_two_shards_if_both_agree(tmp_path: Path) -> None:
    index = two_shards(tmp_path)
    write_shard(tmp_path / TWO, a=1, b=2)
    assert values_of(read_sharded(index)) == {"a": [1], "b": [2]}


def test_an_empty_tensor_may_be_in_two_shards(tmp_path: Path) -> None:
    empty, single = tensor_info("F32", (0,)), tensor_info("F32", (1,))
    (tmp_path / ONE).write_bytes(raw_safetensors({"marker": empty}))
    (tmp_path / TWO).write_bytes(raw_safetensors({"marker": empty, "b": single}, bytes(4)))
    index = write_index(tmp_path, {"marker": ONE, "b": TWO})
    assert {entry.name for entry in read_sharded(index)} == {"marker", "b"}


@pytest.mark.parametrize("difference", ["values", "dtype", "shape"])
def test_a_tensor_that_differs_between_two_shards_is_refused(
    tmp_path: Path, difference: str
) -> None:
    index = two_shards(tmp_path)
    info, data = tensor_info("F32", (1,)), np.float32(1).tobytes()
    match difference:
        case "values":
            data = np.float32(-1).tobytes()
        case "dtype":
            info = tensor_info("I32", (1,))
        case "shape":
            info = tensor_info("F32", (1, 1))
    both = {"a": info, "b": tensor_info("F32", (1,), 4)}
    (tmp_path / TWO).write_bytes(raw_safetensors(both, data + data))
    message = refusal(index).message
    assert f"a is in {ONE} and in {TWO}, with different values" in message


@pytest.mark.parametrize("total", ["", '{"total_size": -1}', '{"total_size": "many"}', "null"])
def test_the_stated_total_size_does_not_matter(tmp_path: Path, total: str) -> None:
    index = two_shards(tmp_path)
    metadata = f'"metadata": {total}, ' if total else ""
    index.write_text(f'{{{metadata}"weight_map": {{"a": "{ONE}", "b": "{TWO}"}}}}')
    assert values_of(read_sharded(index)) == {"a": [1], "b": [2]}


def test_names_that_differ_in_case_are_two_shards(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.safetensors", a=1)
    write_shard(tmp_path / "X.safetensors", b=2)
    if len(list(tmp_path.glob("?.safetensors"))) < 2:
        pytest.skip("this file system does not tell the cases apart")
    index = write_index(tmp_path, {"a": "x.safetensors", "b": "X.safetensors"})
    assert values_of(read_sharded(index)) == {"a": [1], "b": [2]}


_READ_WITH_FEW_FILES = """
import resource, sys
from spectrum_ft.checkpoints.checkpoint import open_checkpoint, read_tensor
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print(sum(float(read_tensor(entry)[0]) for entry in open_checkpoint(sys.argv[1]).entries))
"""


def test_any_number_of_shards_can_be_read_with_few_open_files(tmp_path: Path) -> None:
    names = [f"model-{i:05d}-of-00200.safetensors" for i in range(200)]
    for i, name in enumerate(names):
        write_shard(tmp_path / name, **{f"t{i}": float(i)})
    write_index(tmp_path, {f"t{i}": name for i, name in enumerate(names)})
    finished = subprocess.run(
        [sys.executable, "-c", _READ_WITH_FEW_FILES, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stderr == ""
    assert float(finished.stdout) == sum(range(200))
