"""Old PyTorch files: tensors are read where that was allowed, and nothing ever runs."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import spectrum_ft
from making import assert_fit_to_show
from spectrum_ft.checkpoints.checkpoint import open_checkpoint, read_tensor
from spectrum_ft.checkpoints.folder import pickles_in
from spectrum_ft.checkpoints.pickles import convert_pickles
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError

_MAKE = """
import builtins, os, sys
import torch

folder, canary = sys.argv[1:]
os.chdir(folder)

class Evil:
    def __init__(self, call, argument):
        self.call, self.argument = call, argument

    def __reduce__(self):
        return self.call, (self.argument,)

torch.manual_seed(0)
embedding = torch.arange(6.0).reshape(2, 3)
weights = {
    "embed.weight": embedding,
    "head.weight": embedding,
    "layers.0.weight": torch.arange(8, dtype=torch.bfloat16).reshape(4, 2),
    "layers.0.turned": torch.arange(6.0).reshape(3, 2).t(),
    "layers.0.half": torch.ones(2, dtype=torch.float16),
}
torch.save(weights, "plain.bin")
torch.save({"state_dict": {"w": torch.full((2, 2), 0.5, dtype=torch.bfloat16)}}, "nested.bin")
torch.save([embedding], "list.bin")
torch.save({"w": torch.zeros(1).expand(100_000, 100_000)}, "endless.bin")
torch.save({"w": Evil(os.system, f"touch {canary}")}, "system.bin")
torch.save({"w": Evil(builtins.exec, f"open({canary!r}, 'w').close()")}, "exec.bin")
torch.save(weights, "legacy.bin", _use_new_zipfile_serialization=False)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Files written by torch, and what came of converting those that are archives."""

    folder: Path
    canary: Path
    outcomes: Mapping[str, tuple[TensorEntry, ...] | CheckpointError]

    def refusal(self, name: str) -> CheckpointError:
        """Why the file `name` was refused, checked to be fit for one line of a terminal."""
        outcome = self.outcomes[name]
        assert isinstance(outcome, CheckpointError), outcome
        assert_fit_to_show(outcome, self.folder / name)
        return outcome

    def tensors(self, name: str) -> dict[str, TensorEntry]:
        """The tensors of the file `name`, which was read."""
        outcome = self.outcomes[name]
        assert isinstance(outcome, tuple), outcome
        return {entry.name: entry for entry in outcome}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("pickles")
    canary = folder / "canary"
    subprocess.run([sys.executable, "-c", _MAKE, folder, canary], check=True)

    def convert(name: str) -> tuple[TensorEntry, ...] | CheckpointError:
        try:
            return convert_pickles([folder / name])
        except CheckpointError as error:
            return error

    # Each takes a process that imports torch, some seconds: once a module, two at a time.
    names = ("plain.bin", "nested.bin", "list.bin", "endless.bin", "system.bin", "exec.bin")
    with ThreadPoolExecutor(2) as executor:
        outcomes = dict(zip(names, executor.map(convert, names), strict=True))
    return Made(folder=folder, canary=canary, outcomes=outcomes)


def test_a_plain_table_of_tensors_is_read(made: Made) -> None:
    entries = made.tensors("plain.bin")
    assert {name: (entry.dtype, entry.shape) for name, entry in entries.items()} == {
        "embed.weight": ("float32", (2, 3)),
        "head.weight": ("float32", (2, 3)),
        "layers.0.weight": ("bfloat16", (4, 2)),
        "layers.0.turned": ("float32", (2, 3)),
        "layers.0.half": ("float16", (2,)),
    }
    values = {name: read_tensor(entry) for name, entry in entries.items()}
    np.testing.assert_array_equal(values["embed.weight"], np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(values["head.weight"], np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(values["layers.0.weight"], np.arange(8).reshape(4, 2))
    np.testing.assert_array_equal(values["layers.0.turned"], np.arange(6).reshape(3, 2).T)
    np.testing.assert_array_equal(values["layers.0.half"], np.ones(2))


def test_a_table_within_a_state_dict_is_read(made: Made) -> None:
    entries = made.tensors("nested.bin")
    assert list(entries) == ["w"]
    assert entries["w"].dtype == "bfloat16"
    assert read_tensor(entries["w"]).tolist() == [[0.5, 0.5]] * 2


def test_what_is_no_table_of_tensors_is_refused(made: Made) -> None:
    assert "it is not a table of tensors" in made.refusal("list.bin").message


def test_a_view_that_repeats_a_few_bytes_for_ever_is_refused(made: Made) -> None:
    assert "its tensors take 40,000,000,000 bytes" in made.refusal("endless.bin").message


@pytest.mark.parametrize("name", ["system.bin", "exec.bin"])
def test_code_in_a_pickle_does_not_run(made: Made, name: str) -> None:
    assert "torch cannot read it as plain tensors" in made.refusal(name).message
    assert not made.canary.exists()


def test_no_pickle_is_touched_unless_that_was_allowed(made: Made) -> None:
    for name in (*made.outcomes, "legacy.bin"):
        with pytest.raises(CheckpointError, match="can run code"):
            open_checkpoint(str(made.folder / name))
    assert not made.canary.exists()


def test_a_file_from_before_archives_is_refused(made: Made) -> None:
    path = made.folder / "legacy.bin"
    error = refusal(path)
    assert "not a PyTorch archive" in error.message
    assert error.hint is not None
    assert "before PyTorch 1.6" in error.hint


# The rest is refused by its outside, before any process is started.


def refusal(path: Path) -> CheckpointError:
    """Why `path` is refused, checked to be fit for one line of a terminal."""
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(str(path), allow_pickle=True)
    assert_fit_to_show(caught.value, path)
    return caught.value


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"archive/data/{number}", bytes(10_000_000))
    assert path.stat().st_size < 100_000
    assert "unpacks to 30,000,000 bytes" in refusal(path).message


def test_an_archive_that_only_claims_to_unpack_to_far_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data/0", bytes(1000))
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + 24 : central + 28] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(content)
    assert "unpacks to 4,294,967,294 bytes" in refusal(path).message


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(1000))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"PK\x01\x02", b"PK\x01\x03"))
    assert "a damaged archive" in refusal(path).message
    path.write_bytes(content[:-10])
    assert "not a PyTorch archive" in refusal(path).message


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02}q\x00.", b"<html></html>", b"GGUF" + bytes(40), bytes(1000)]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.pt"
    path.write_bytes(content)
    assert "not a PyTorch archive" in refusal(path).message


@pytest.mark.timeout(20)
def test_a_folder_or_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="not a regular file"):
        open_checkpoint(str(tmp_path / "model"), allow_pickle=True)
    with pytest.raises(CheckpointError, match="not a regular file"):
        convert_pickles([tmp_path / "model"])


def test_what_a_trainer_leaves_beside_the_weights_is_left_alone(tmp_path: Path) -> None:
    weights = ["consolidated.00.pth", "model.pt", "pytorch_model-00001-of-00002.bin"]
    states = ["optimizer.pt", "rng_state_0.pth", "scaler.pt", "scheduler.pt", "training_args.bin"]
    for name in (*weights, *states, "config.json"):
        (tmp_path / name).touch()
    assert [path.name for path in pickles_in(tmp_path)] == weights


def test_nothing_else_in_the_library_reads_pickles() -> None:
    root = Path(spectrum_ft.__file__).parent
    reads = re.compile(r"\b(import|from) (pickle|dill|joblib|shelve)\b|\btorch\.load\b")
    found = {path.name for path in root.rglob("*.py") if reads.search(path.read_text("utf-8"))}
    assert found == {"pickle_child.py"}
