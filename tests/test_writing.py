"""Results are written whole or not at all, and replace nothing by accident."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from making import NOBODY, runs_as_root
from spectrum_ft.errors import OutputError
from spectrum_ft.writing import check_writable, write_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "results"
    path.mkdir()
    return path


def refusal(path: Path, *, force: bool = False) -> OutputError:
    """Why nothing can be written to `path`, said by the early check and by the writing alike."""
    with pytest.raises(OutputError) as early:
        check_writable(path, force=force)
    with pytest.raises(OutputError) as late:
        write_file(path, "new", force=force)
    error = early.value
    assert (error.message, error.hint) == (late.value.message, late.value.hint)
    assert error.hint
    assert error.message.isprintable()
    assert len(error.message) <= 400
    return error


def test_a_new_file_holds_what_was_written_byte_for_byte(folder: Path) -> None:
    text = "né 😀\nline\r\n\x00end"
    write_file(folder / "scan.json", text, force=False)
    assert (folder / "scan.json").read_bytes() == text.encode()
    assert os.listdir(folder) == ["scan.json"]


def test_an_existing_file_is_kept_without_force(folder: Path) -> None:
    path = folder / "scan.json"
    path.write_text("old")
    error = refusal(path)
    assert error.message == f"{path}: already exists"
    assert error.hint == "pass --force to replace it"
    assert path.read_text() == "old"
    assert os.listdir(folder) == ["scan.json"]


def test_force_replaces_the_file_and_keeps_its_mode(folder: Path) -> None:
    path = folder / "scan.json"
    path.write_text("old and longer")
    path.chmod(0o604)
    write_file(path, "new", force=True)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o7777 == 0o604
    assert os.listdir(folder) == ["scan.json"]


def test_force_makes_a_file_that_is_not_there(folder: Path) -> None:
    write_file(folder / "scan.json", "new", force=True)
    assert (folder / "scan.json").read_text() == "new"


def test_a_reader_sees_the_old_or_the_new_file_and_never_a_mixture(folder: Path) -> None:
    path = folder / "scan.json"
    texts = {letter * 100_000 for letter in "ab"}
    write_file(path, "a" * 100_000, force=False)
    seen: set[str] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        for text in texts:
            write_file(path, text, force=True)
    stop.set()
    reader.join()
    assert seen <= texts


def test_of_several_writers_of_one_name_one_wins_and_the_others_are_told(folder: Path) -> None:
    path = folder / "scan.json"
    together = threading.Barrier(8)

    def write(number: int) -> str | None:
        together.wait()
        try:
            write_file(path, str(number), force=False)
        except OutputError as error:
            return error.hint
        return path.read_text()

    with ThreadPoolExecutor(8) as executor:
        outcomes = list(executor.map(write, range(8)))
    winner = int(path.read_text())
    assert outcomes.pop(winner) == str(winner)
    assert set(outcomes) == {"pass --force to replace it"}
    assert os.listdir(folder) == ["scan.json"]


def test_a_folder_is_refused_even_with_force(folder: Path) -> None:
    assert "is a folder" in refusal(folder, force=True).message
    assert "is a folder" in refusal(folder).message


def test_a_folder_that_is_not_there_is_named(folder: Path) -> None:
    assert f"{folder / 'no'}: no such folder" in refusal(folder / "no" / "scan.json").message
    (folder / "file").touch()
    assert "no such folder" in refusal(folder / "file" / "scan.json").message


@pytest.mark.timeout(20)
def test_a_fifo_is_refused_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "already exists" in refusal(folder / "pipe").message
    assert "not a regular file" in refusal(folder / "pipe", force=True).message


def test_a_device_is_refused_even_with_force() -> None:
    assert "not a regular file" in refusal(Path("/dev/null"), force=True).message


def test_a_planted_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (folder / "scan.json").symlink_to(precious)
    assert "already exists" in refusal(folder / "scan.json").message
    write_file(folder / "scan.json", "new", force=True)
    assert precious.read_text() == "precious"
    assert (folder / "scan.json").read_text() == "new"
    assert not (folder / "scan.json").is_symlink()


def test_a_dangling_link_counts_as_existing(folder: Path, tmp_path: Path) -> None:
    (folder / "scan.json").symlink_to(tmp_path / "nowhere")
    assert "already exists" in refusal(folder / "scan.json").message
    assert not (tmp_path / "nowhere").exists()


def test_a_name_longer_than_names_may_be_is_refused(folder: Path) -> None:
    with pytest.raises(OutputError) as caught:
        write_file(folder / ("x" * 300), "new", force=False)
    assert "File name too long" in caught.value.message
    assert os.listdir(folder) == []


_WRITE = """
import os, sys
from pathlib import Path
from spectrum_ft.errors import OutputError
from spectrum_ft.writing import check_writable, write_file

path, size, force = Path(sys.argv[1]), int(sys.argv[3]), sys.argv[4] == "force"
os.umask(int(sys.argv[2], 8))
try:
    if size == 0:
        check_writable(path, force=force)
    write_file(path, "x" * size, force=force)
except OutputError as error:
    print(error.message, error.hint, sep="\\n")
"""


def write_in_child(
    path: Path,
    *,
    before: tuple[str, ...] = (),
    umask: str = "022",
    size: int = 1,
    force: bool = False,
) -> list[str]:
    """What a process of its own says when it writes `size` letters: nothing, or error and hint."""
    arguments = [str(path), umask, str(size), "force" if force else ""]
    finished = subprocess.run(
        [*before, sys.executable, "-c", _WRITE, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if before and (
        "ModuleNotFoundError" in finished.stderr or "Permission denied" in finished.stderr
    ):
        pytest.skip("another user cannot read this installation")
    assert finished.stderr == ""
    return finished.stdout.splitlines()


@pytest.mark.parametrize(("umask", "mode"), [("022", 0o644), ("077", 0o600), ("000", 0o666)])
def test_the_mode_of_a_new_file_follows_the_umask(folder: Path, umask: str, mode: int) -> None:
    assert write_in_child(folder / "scan.json", umask=umask) == []
    assert (folder / "scan.json").stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(not runs_as_root() or not shutil.which("setpriv"), reason="needs root, setpriv")
@pytest.mark.parametrize("size", [0, 1])
def test_a_folder_that_may_not_be_written_to_is_refused(size: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        (folder / "old.json").write_text("old")
        message, hint = write_in_child(folder / "scan.json", before=NOBODY, size=size)
        assert message == f"{folder}: may not be written to"
        assert hint == "give a path elsewhere"
        message, _ = write_in_child(folder / "old.json", before=NOBODY, size=size, force=True)
        assert message == f"{folder}: may not be written to"
        assert os.listdir(folder) == ["old.json"]
        assert (folder / "old.json").read_text() == "old"


_FILL = """
mount -t tmpfs -o size=256k none "$1" || exit 77
printf old > "$1/old.json"
"$2" -c "$3" "$1/scan.json" 022 1000000 ""
"$2" -c "$3" "$1/old.json" 022 1000000 force
cat "$1/old.json"
echo
ls -A "$1"
"""


@pytest.mark.skipif(not runs_as_root() or not shutil.which("unshare"), reason="needs root, unshare")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(folder: Path) -> None:
    finished = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _FILL, "sh", str(folder), sys.executable, _WRITE],
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode == 77 or "unshare" in finished.stderr:
        pytest.skip(f"no file system of our own can be mounted: {finished.stderr.strip()}")
    hint = "make room there, or give another path"
    assert finished.stdout.splitlines() == [
        f"{folder / 'scan.json'}: cannot be written (No space left on device)",
        hint,
        f"{folder / 'old.json'}: cannot be written (No space left on device)",
        hint,
        "old",
        "old.json",
    ]
