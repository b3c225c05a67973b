"""Opening a checkpoint: which files count, in which order, and what identifies a model."""

import os
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest

from making import (
    NOBODY,
    assert_fit_to_show,
    raw_safetensors,
    runs_as_root,
    tensor_info,
    write_index,
    write_llama,
)
from spectrum_ft.checkpoints.checkpoint import (
    Checkpoint,
    content_digest,
    fingerprint,
    open_checkpoint,
    read_bytes,
    read_tensor,
)
from spectrum_ft.errors import CheckpointError

SHARD = "model-00001-of-00001.safetensors"


def refusal(source: Path, *, allow_pickle: bool = False) -> CheckpointError:
    """Why `source` is refused, checked to be fit for one line of a terminal."""
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(str(source), allow_pickle=allow_pickle)
    assert_fit_to_show(caught.value, source)
    return caught.value


def write_one(path: Path, name: str = "t") -> None:
    """A file of one float32 tensor of 2 x 3 by that name."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw_safetensors({name: tensor_info("F32", (2, 3))}, bytes(range(24))))


def write_gguf(path: Path, name: str = "from_gguf") -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor(name, np.ones((4, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def names(checkpoint: Checkpoint) -> list[str]:
    return [entry.name for entry in checkpoint.entries]


def test_a_folder_a_file_and_shards_hold_the_same_tensors(tmp_path: Path) -> None:
    written = write_llama(tmp_path / "whole", layers=3)
    write_llama(tmp_path / "shards", layers=3, shards=4)
    sources = [tmp_path / "whole", tmp_path / "whole" / "model.safetensors", tmp_path / "shards"]
    for source in sources:
        checkpoint = open_checkpoint(str(source))
        assert (checkpoint.source, checkpoint.revision) == (str(source), None)
        assert set(names(checkpoint)) == set(written)
        for entry in checkpoint.entries:
            np.testing.assert_array_equal(read_tensor(entry), written[entry.name])


@pytest.mark.parametrize("shards", [1, 3])
def test_tensors_come_in_natural_order(tmp_path: Path, shards: int) -> None:
    write_llama(tmp_path, layers=12, hidden=16, shards=shards)
    checkpoint = open_checkpoint(str(tmp_path))
    layers = [checkpoint.places[name].layer for name in names(checkpoint)]
    numbered = [layer for layer in layers if layer is not None]
    assert numbered == sorted(numbered)
    assert set(numbered) == set(range(12))
    assert names(checkpoint)[:2] == ["lm_head.weight", "model.embed_tokens.weight"]


def test_weights_and_layers_are_counted(tmp_path: Path) -> None:
    written = write_llama(tmp_path, layers=5, hidden=16)
    checkpoint = open_checkpoint(str(tmp_path))
    assert checkpoint.num_params == sum(values.size for values in written.values())
    assert checkpoint.num_layers == 5


def test_each_tensor_has_its_place(tmp_path: Path) -> None:
    write_llama(tmp_path, layers=2)
    places = open_checkpoint(str(tmp_path)).places
    place = places["model.layers.1.self_attn.k_proj.weight"]
    assert (place.kind, place.layer, place.role) == ("self_attn.k_proj", 1, "block")
    assert places["model.norm.weight"].role == "norm"


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("F32", np.float32), ("BF16", np.float32), ("F16", np.float32), ("F64", np.float64)],
)
def test_values_are_float32_unless_stored_wider(
    tmp_path: Path, dtype: str, expected: type[np.floating]
) -> None:
    written = write_llama(tmp_path, layers=1, dtype=dtype)  # type: ignore[arg-type]  # one of four
    for entry in open_checkpoint(str(tmp_path)).entries:
        values = read_tensor(entry)
        assert values.dtype == expected
        np.testing.assert_array_equal(values, written[entry.name])


def test_the_fingerprint_is_that_of_names_and_shapes(tmp_path: Path) -> None:
    def of(folder: str, **options: object) -> str:
        write_llama(tmp_path / folder, **{"layers": 2, "hidden": 16, **options})  # type: ignore[arg-type]
        return fingerprint(open_checkpoint(str(tmp_path / folder)).entries)

    original = of("a")
    (tmp_path / "a").rename(tmp_path / "renamed")
    assert fingerprint(open_checkpoint(str(tmp_path / "renamed")).entries) == original
    assert of("narrow", dtype="BF16") == original
    assert of("sharded", shards=3) == original
    assert of("trained", seed=1) == original
    assert of("wider", hidden=32) != original
    assert of("deeper", layers=3) != original
    assert of("more", overrides={"extra": np.ones(1, dtype=np.float32)}) != original
    norm = np.ones((1, 16), dtype=np.float32)
    assert of("reshaped", overrides={"model.norm.weight": norm}) != original


def test_the_fingerprint_does_not_change_between_versions(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    infos = {"b": tensor_info("F32", ()), "a": tensor_info("F32", (2, 3), 4)}
    path.write_bytes(raw_safetensors(infos, bytes(28)))
    # printf '[["a", [2, 3]], ["b", []]]' | sha256sum
    expected = "7cf3ed4625d7bdf6c1f15f57bf4ee5e6efd943b3e2142333ee0a77cdf39812d0"
    assert fingerprint(open_checkpoint(str(path)).entries) == expected


def test_the_content_digest_is_that_of_type_shape_and_bytes(tmp_path: Path) -> None:
    def of(name: str, dtype: str = "F32", shape: tuple[int, ...] = (2, 3), first: int = 0) -> str:
        path = tmp_path / f"{name}.safetensors"
        data = bytes([first, *range(1, 24)])
        path.write_bytes(raw_safetensors({name: tensor_info(dtype, shape)}, data))
        (entry,) = open_checkpoint(str(path)).entries
        return content_digest(read_bytes(entry), entry)

    # { printf 'float32 [2, 3]\n'; 24 bytes 00 01 02 ... 17; } | sha256sum
    expected = "9e6a58c64413595331ca91a7914eca10ef560d059e91b08842ddc0cded676949"
    assert of("a") == expected
    assert of("another_name") == expected
    assert of("type", dtype="I32") != expected
    assert of("shape", shape=(3, 2)) != expected
    assert of("bytes", first=1) != expected


def test_opening_reads_headers_and_keeps_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.write(raw_safetensors({"t": tensor_info("F32", (1 << 14, 1 << 14))}))
        file.truncate(file.tell() + (4 << 28))  # 1 GiB of nothing
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.exists() else 0
    tracemalloc.start()
    try:
        checkpoint = open_checkpoint(str(tmp_path))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert checkpoint.num_params == 1 << 28
    assert peak_bytes < 1_000_000
    assert (len(list(descriptors.iterdir())) if descriptors.exists() else 0) == before


# Which of a folder's files count.


def test_the_index_comes_before_everything_else(tmp_path: Path) -> None:
    write_one(tmp_path / SHARD, "indexed")
    write_one(tmp_path / "model.safetensors", "single")
    write_one(tmp_path / "other.safetensors", "other")
    write_gguf(tmp_path / "model.gguf")
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    write_index(tmp_path, {"indexed": SHARD})
    assert names(open_checkpoint(str(tmp_path))) == ["indexed"]


def test_model_safetensors_comes_before_other_files(tmp_path: Path) -> None:
    write_one(tmp_path / "model.safetensors", "single")
    write_one(tmp_path / "model.fp16.safetensors", "variant")
    write_gguf(tmp_path / "model.gguf")
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    assert names(open_checkpoint(str(tmp_path))) == ["single"]


def test_the_only_safetensors_file_comes_before_gguf(tmp_path: Path) -> None:
    write_one(tmp_path / "weights.safetensors", "only")
    write_gguf(tmp_path / "model.gguf")
    assert names(open_checkpoint(str(tmp_path))) == ["only"]


def test_the_only_gguf_file_is_read(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model-q4.gguf")
    (tmp_path / "README.md").write_text("a model")
    checkpoint = open_checkpoint(str(tmp_path))
    assert names(checkpoint) == ["from_gguf"]
    assert names(open_checkpoint(str(tmp_path / "model-q4.gguf"))) == ["from_gguf"]
    assert read_tensor(checkpoint.entries[0]).tolist() == [[1.0] * 8] * 4


def test_a_gguf_file_that_is_replaced_after_its_header_was_read_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf")
    (entry,) = open_checkpoint(str(tmp_path)).entries
    shutil.copy2(tmp_path / "model.gguf", tmp_path / "copy")
    (tmp_path / "copy").replace(tmp_path / "model.gguf")
    with pytest.raises(CheckpointError, match="changed since its header was read"):
        read_tensor(entry)


@pytest.mark.parametrize("suffix", ["safetensors", "gguf"])
def test_several_files_without_an_index_are_refused(tmp_path: Path, suffix: str) -> None:
    for number in range(5):
        (tmp_path / f"part-{number}.{suffix}").write_bytes(b"")
    error = refusal(tmp_path)
    assert "5 weight files and no model.safetensors.index.json" in error.message
    assert f"part-0.{suffix}, part-1.{suffix}, part-2.{suffix} and 2 more" in error.message


def test_pickled_weights_are_refused_unless_allowed(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(b"PK\x03\x04")
    for source in (tmp_path, path):
        error = refusal(source)
        assert "can run code" in error.message
        assert error.hint is not None
        assert "convert it to safetensors, or pass --allow-pickle" in error.hint


def test_a_trainer_s_state_alone_is_no_model(tmp_path: Path) -> None:
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"):
        (tmp_path / name).write_bytes(b"PK\x03\x04")
    for allow_pickle in (False, True):
        assert "no weights here" in refusal(tmp_path, allow_pickle=allow_pickle).message


def test_allowing_pickles_does_not_prefer_them(tmp_path: Path) -> None:
    write_one(tmp_path / "weights.safetensors", "safe")
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    assert names(open_checkpoint(str(tmp_path), allow_pickle=True)) == ["safe"]


# What is no model at all.


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "no weights here (looked for .safetensors and .gguf)" in refusal(tmp_path).message


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path / "no" / "such" / "model")
    assert "no such file or folder" in error.message
    assert error.hint is not None
    assert "Hub id" in error.hint


@pytest.mark.parametrize("source", ["", "/" + "x" * 300, "/" + "y/" * 3000, "/a\0b"])
def test_a_source_that_can_be_no_path_is_refused(source: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(source)
    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 400


@pytest.mark.parametrize("name", ["config.json", "weights", "model.h5", "model.safetensors.bak"])
def test_a_file_that_is_not_weights_is_refused(tmp_path: Path, name: str) -> None:
    write_one(tmp_path / name)
    assert "not a weight file that can be read" in refusal(tmp_path / name).message


@pytest.mark.timeout(20)
def test_a_fifo_in_the_place_of_weights_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    os.mkfifo(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="not a regular file"):
        open_checkpoint(str(tmp_path))
    error = refusal(tmp_path / "pytorch_model.bin", allow_pickle=True)
    assert "not a regular file" in error.message


def test_an_existing_path_wins_over_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    write_one(tmp_path / "owner" / "name" / "model.safetensors")
    checkpoint = open_checkpoint("owner/name")
    assert (names(checkpoint), checkpoint.revision) == (["t"], None)


_OPEN = """
import sys
from spectrum_ft.checkpoints.checkpoint import open_checkpoint
from spectrum_ft.errors import CheckpointError
try:
    open_checkpoint(sys.argv[1])
except CheckpointError as error:
    print(error.message)
"""


@pytest.mark.skipif(not runs_as_root() or not shutil.which("setpriv"), reason="needs root, setpriv")
@pytest.mark.parametrize("what", ["folder", "parent"])
def test_a_folder_that_may_not_be_read_is_refused(what: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        parent = Path(scratch)
        write_one(parent / "model" / "model.safetensors")
        (parent / "model").chmod(0o700 if what == "folder" else 0o755)
        parent.chmod(0o755 if what == "folder" else 0o700)
        finished = subprocess.run(
            [*NOBODY, sys.executable, "-c", _OPEN, str(parent / "model")],
            capture_output=True,
            text=True,
            check=False,
        )
    if "ModuleNotFoundError" in finished.stderr or "Permission denied" in finished.stderr:
        pytest.skip("another user cannot read this installation")
    assert finished.stderr == ""
    expected = "may not be read" if what == "folder" else "no such file or folder"
    assert expected in finished.stdout
