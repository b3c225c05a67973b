"""The cache's place, and folders that get into it whole or not at all."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from spectrum_ft.cache_folder import cache_folder, filling
from spectrum_ft.errors import CheckpointError, OutputError


@pytest.fixture
def umask_027() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_the_environment_names_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPECTRUM_FT_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    assert not cache_folder().exists()
    monkeypatch.setenv("SPECTRUM_FT_CACHE", "")
    assert cache_folder().name == "spectrum-ft"


@pytest.mark.usefixtures("umask_027")
def test_a_filled_folder_appears_whole_with_the_umasks_modes(tmp_path: Path) -> None:
    target = tmp_path / "new" / "target"
    with filling(target) as staging:
        (staging / "secret").touch(mode=0o600)
        assert not target.exists()
        assert staging.parent == target.parent
    assert os.listdir(target.parent) == ["target"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    assert stat.S_IMODE((target / "secret").stat().st_mode) == 0o640


def fail_half_way(target: Path) -> None:
    with filling(target) as staging:
        (staging / "half").touch()
        raise CheckpointError("damaged")


def test_after_a_failure_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        fail_half_way(tmp_path / "target")
    assert os.listdir(tmp_path) == []


def test_the_first_of_two_processes_wins(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with filling(target) as slow:
        (slow / "by").write_text("slow")
        with filling(target) as fast:
            (fast / "by").write_text("fast")
    assert (target / "by").read_text() == "fast"
    assert os.listdir(tmp_path) == ["target"]


def test_only_old_staging_folders_are_removed(tmp_path: Path) -> None:
    names = (".target.dead", ".target.busy", ".other.dead")
    for name in names:
        (tmp_path / name).mkdir()
        if "dead" in name:
            os.utime(tmp_path / name, (0, 0))
    with filling(tmp_path / "target"):
        pass
    assert sorted(os.listdir(tmp_path)) == [".other.dead", ".target.busy", "target"]


def fill_the_disk(target: Path) -> None:
    with filling(target) as staging, open("/dev/full", "w") as full:
        (staging / "half").touch()
        full.write("x")
        full.flush()


def test_a_disk_that_fills_up_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left on device") as caught:
        fill_the_disk(tmp_path / "target")
    assert "SPECTRUM_FT_CACHE" in str(caught.value.hint)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        fill_the_disk(tmp_path / "file" / "target")
