"""Checkpoint folders: whole or not there, damage named, and only a run's own are deleted."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from making import assert_fit_to_show
from spectrum_ft.errors import CheckpointError, OutputError
from spectrum_ft.tuning.runs.manifests import (
    CheckpointDamaged,
    read_manifest,
    verify_manifest,
    write_manifest,
)
from spectrum_ft.tuning.runs.step_folders import (
    newest_step,
    prune_steps,
    recover_steps,
    verify_step,
    writing_step,
)

RUN = "0123456789abcdef"


def write_step(checkpoints: Path, step: int, run: str = RUN, text: str = "weights") -> Path:
    with writing_step(checkpoints, step, run) as folder:
        (folder / "weights.bin").write_text(f"{text} of {step}")
        (folder / "states").mkdir()
        (folder / "states" / "optimizer.json").write_text(f"{{}} {step}")
    return checkpoints / f"step-{step:06d}"


def names(checkpoints: Path) -> list[str]:
    return sorted(os.listdir(checkpoints))


@pytest.fixture
def umask_027() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask_027")
def test_a_step_appears_whole_with_a_manifest_and_the_umasks_modes(tmp_path: Path) -> None:
    with writing_step(tmp_path / "run" / "checkpoints", 12, RUN) as folder:
        (folder / "secret").touch(mode=0o600)
        (folder / "states").mkdir(mode=0o700)
        (folder / "states" / "optimizer.json").write_text("{}")
        assert [name[0] for name in names(folder.parent)] == ["."]
    assert names(folder.parent) == ["step-000012"]
    step = folder.parent / "step-000012"
    verify_step(step, RUN)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in step.rglob("*")}
    assert modes.pop("states") == 0o750
    assert set(modes.values()) == {0o640}
    table = json.loads((step / "manifest.json").read_text())
    assert (table["schema"], table["run"], table["step"]) == ("spectrum-ft/checkpoint@1", RUN, 12)
    assert sorted(table["files"]) == ["secret", "states/optimizer.json"]
    assert table["files"]["secret"]["bytes"] == 0


def fail_half_way(checkpoints: Path, step: int) -> None:
    with writing_step(checkpoints, step, RUN) as folder:
        (folder / "half").touch()
        raise ValueError("interrupted")


def test_after_a_failure_the_older_state_is_there(tmp_path: Path) -> None:
    old = write_step(tmp_path, 10)
    with pytest.raises(ValueError, match="interrupted"):
        fail_half_way(tmp_path, 20)
    with pytest.raises(ValueError, match="interrupted"):
        fail_half_way(tmp_path, 10)
    assert names(tmp_path) == ["step-000010"]
    verify_step(old, RUN)


def test_a_step_that_is_there_is_replaced(tmp_path: Path) -> None:
    write_step(tmp_path, 10, text="old")
    step = write_step(tmp_path, 10, text="new")
    assert (step / "weights.bin").read_text() == "new of 10"
    assert names(tmp_path) == ["step-000010"]
    verify_step(step, RUN)


def fill_the_disk(checkpoints: Path) -> None:
    with writing_step(checkpoints, 7, RUN) as folder, open("/dev/full", "w") as full:
        (folder / "half").write_text("x" * 1000)
        full.write("x")
        full.flush()


def test_a_full_disk_is_told_with_what_it_takes_and_what_is_free(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left on device") as caught:
        fill_the_disk(tmp_path)
    assert "more than 1,000 bytes" in caught.value.message
    assert "are free" in caught.value.message
    assert_fit_to_show(caught.value, tmp_path / "step-000007")
    assert names(tmp_path) == []


# Each line kills the process at another moment of a save over an existing step.
MOMENTS = {
    "while files are written": "(folder / 'half').write_text('x'); die()",
    "before the manifest": "manifests.hashlib.file_digest = die",
    "while it is put on the disk": "staging.os.fsync = die",
    "before the old one is set aside": "staging.Path.rename = die",
    "between the two renames": "staging.Path.rename = once(staging.Path.rename)",
    "while the old one is deleted": "staging.shutil.rmtree = die",
}
PROGRAM = """
import os, signal, sys
from pathlib import Path
from spectrum_ft import staging
from spectrum_ft.tuning.runs import manifests
from spectrum_ft.tuning.runs.step_folders import writing_step

def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

def once(function):
    calls = []
    def limited(*arguments):
        calls.append(1)
        return function(*arguments) if len(calls) == 1 else die()
    return limited

with writing_step(Path(sys.argv[1]), 20, sys.argv[2]) as folder:
    (folder / 'weights.bin').write_text('new')
    (folder / 'states').mkdir()
    exec(sys.argv[3])
"""


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_kill_at_any_moment_leaves_a_whole_step(tmp_path: Path, moment: str) -> None:
    write_step(tmp_path, 10)
    write_step(tmp_path, 20, text="old")
    killed = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), RUN, moment], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    recover_steps(tmp_path)
    assert names(tmp_path) == ["step-000010", "step-000020"]
    folder, notes = newest_step(tmp_path, RUN)
    assert folder == tmp_path / "step-000020"
    assert notes == ()
    assert (folder / "weights.bin").read_text() in ("old of 20", "new")


def test_the_next_save_clears_away_what_a_kill_left(tmp_path: Path) -> None:
    (tmp_path / ".step-000010.0123abcd").mkdir()
    (tmp_path / ".step-000010.0123abcd" / "half").touch()
    write_step(tmp_path, 10)
    assert names(tmp_path) == ["step-000010"]


def test_recovering_spares_everything_else(tmp_path: Path) -> None:
    recover_steps(tmp_path / "absent")
    for name in (".git", "notes", ".step-12.0123abcd", ".step-000012.mine"):
        (tmp_path / name).mkdir()
    (tmp_path / ".step-000012.0123abcd").mkdir()
    recover_steps(tmp_path)
    assert names(tmp_path) == [".git", ".step-000012.mine", ".step-12.0123abcd", "notes"]


def flip_a_bit(step: Path) -> None:
    data = bytearray((step / "weights.bin").read_bytes())
    data[0] ^= 1
    (step / "weights.bin").write_bytes(data)


def swap_with_another(step: Path) -> None:
    other = write_step(step.parent / "elsewhere", 11)
    shutil.copy(other / "weights.bin", step / "weights.bin")


def take_anothers_name(step: Path) -> None:
    other = write_step(step.parent / "elsewhere", 11)
    shutil.rmtree(step)
    other.rename(step)


def name_the_outside(step: Path) -> None:
    table = json.loads((step / "manifest.json").read_text())
    table["files"]["../../etc/passwd"] = table["files"].pop("weights.bin")
    (step / "manifest.json").write_text(json.dumps(table))


DAMAGE = {
    "weights.bin has another content": flip_a_bit,
    "weights.bin has 3 bytes instead of 13": lambda step: (step / "weights.bin").write_text("wei"),
    "weights.bin is missing": lambda step: (step / "weights.bin").unlink(),
    "states/optimizer.json is missing": lambda step: shutil.rmtree(step / "states"),
    "extra.txt was not there": lambda step: (step / "states" / "extra.txt").touch(),
    "weights.bin has another content than": swap_with_another,
    "holds step 11": take_anothers_name,
    "manifest.json: is missing": lambda step: (step / "manifest.json").unlink(),
    "manifest.json: empty": lambda step: (step / "manifest.json").write_text(""),
    "manifest.json: it is not JSON": lambda step: (step / "manifest.json").write_text("{"),
    "manifest.json: Expected `int`": lambda step: (step / "manifest.json").write_text(
        '{"schema": "spectrum-ft/checkpoint@1", "run": "a", "step": "b"}'
    ),
    "manifest.json: not a spectrum-ft/checkpoint": lambda step: (step / "manifest.json").write_text(
        '{"schema": "else@1"}'
    ),
    "../../etc/passwd is missing": name_the_outside,
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_named_and_the_step_before_is_used(tmp_path: Path, message: str) -> None:
    good = write_step(tmp_path, 9)
    step = write_step(tmp_path, 10)
    DAMAGE[message](step)
    with pytest.raises(CheckpointDamaged) as caught:
        verify_step(step, RUN)
    assert message in caught.value.message
    assert_fit_to_show(caught.value, step)
    folder, notes = newest_step(tmp_path, RUN)
    assert folder == good
    assert len(notes) == 1
    assert "step-000010" in notes[0]
    assert message in notes[0]


def test_a_fifo_in_place_of_a_file_is_damage(tmp_path: Path) -> None:
    step = write_step(tmp_path, 10)
    (step / "weights.bin").unlink()
    os.mkfifo(step / "weights.bin")
    with pytest.raises(CheckpointDamaged, match="not a regular file"):
        verify_step(step, RUN)


def test_all_damaged_is_an_error_never_a_restart(tmp_path: Path) -> None:
    for number in (10, 20):
        flip_a_bit(write_step(tmp_path, number))
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole \(2 damaged\)") as caught:
        newest_step(tmp_path, RUN)
    assert_fit_to_show(caught.value, tmp_path)


def test_no_checkpoint_yet_is_no_error(tmp_path: Path) -> None:
    assert newest_step(tmp_path / "absent", RUN) == (None, ())
    (tmp_path / "step-x").touch()
    (tmp_path / "step-0000000000000000000000001").mkdir()
    assert newest_step(tmp_path, RUN) == (None, ())


def test_a_newer_layout_asks_for_an_upgrade_and_is_not_passed_over(tmp_path: Path) -> None:
    write_step(tmp_path, 10)
    step = write_step(tmp_path, 20)
    text = (step / "manifest.json").read_text().replace("checkpoint@1", "checkpoint@2")
    (step / "manifest.json").write_text(text)
    for ask in (lambda: verify_step(step, RUN), lambda: newest_step(tmp_path, RUN)):
        with pytest.raises(CheckpointError, match="newer version") as caught:
            ask()
        assert caught.value.hint == "upgrade spectrum-ft"


def test_another_runs_steps_are_neither_used_nor_pruned(tmp_path: Path) -> None:
    for number in (30, 40):
        write_step(tmp_path, number, run="another")
    own = [write_step(tmp_path, number) for number in (1, 2, 3)]
    with pytest.raises(CheckpointError, match="belongs to another run"):
        verify_step(tmp_path / "step-000040", RUN)
    folder, notes = newest_step(tmp_path, RUN)
    assert folder == own[2]
    assert len(notes) == 2
    prune_steps(tmp_path, 1, None, RUN, written=3)
    assert names(tmp_path) == ["step-000003", "step-000030", "step-000040"]


def test_pruning_goes_by_the_step_and_spares_the_best(tmp_path: Path) -> None:
    for number in (5, 10, 15, 20, 25):
        step = write_step(tmp_path, number)
        # A clock that runs backwards: the newest step looks like the oldest file.
        os.utime(step, (10**9 - number, 10**9 - number))
    prune_steps(tmp_path, 2, 5, RUN, written=25)
    assert names(tmp_path) == ["step-000005", "step-000020", "step-000025"]
    prune_steps(tmp_path, 1, 25, RUN, written=25)
    assert names(tmp_path) == ["step-000025"]


def test_pruning_keeps_what_was_just_written_below_a_damaged_one(tmp_path: Path) -> None:
    flip_a_bit(write_step(tmp_path, 30))
    for number in (10, 12):
        write_step(tmp_path, number)
    prune_steps(tmp_path, 1, None, RUN, written=12)
    assert names(tmp_path) == ["step-000012", "step-000030"]


def test_pruning_spares_what_has_no_manifest(tmp_path: Path) -> None:
    (write_step(tmp_path, 1) / "manifest.json").unlink()
    write_step(tmp_path, 2)
    prune_steps(tmp_path, 1, None, RUN, written=2)
    assert names(tmp_path) == ["step-000001", "step-000002"]


def test_steps_beyond_a_million_sort_as_numbers(tmp_path: Path) -> None:
    write_step(tmp_path, 999_999)
    assert write_step(tmp_path, 1_000_000) == newest_step(tmp_path, RUN)[0]


def test_a_manifest_serves_a_result_folder_too(tmp_path: Path) -> None:
    (tmp_path / "trained.safetensors").write_bytes(b"x" * 10)
    write_manifest(tmp_path, run_id=RUN, step=40)
    assert verify_manifest(tmp_path) == read_manifest(tmp_path)
    assert verify_manifest(tmp_path, run_id=RUN).step == 40
    with pytest.raises(CheckpointError, match="another run"):
        verify_manifest(tmp_path, run_id="another")
