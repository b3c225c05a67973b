"""`spectrum report`: which record it takes for what, and where it writes it."""

import json
import shutil
from pathlib import Path

import pytest

from made_comparisons import a_comparison
from making import write_llama
from program import assert_explained, run_spectrum
from spectrum_ft.record_files import to_json
from spectrum_ft.writing import TEMPORARY


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scan, a plan and a comparison."""
    home = tmp_path_factory.mktemp("made")
    write_llama(home / "model", layers=4)
    for words in (
        ("scan", "model", "-o", "scan.json", "-q", "--no-cache"),
        ("plan", "scan.json", "-o", "plan.yaml", "-q"),
    ):
        assert run_spectrum(*words, cwd=home).returncode == 0
    (home / "comparison.json").write_text(to_json(a_comparison()), "utf-8")
    return home


@pytest.fixture
def records(made: Path, tmp_path: Path) -> Path:
    """A copy of that folder for one test."""
    return Path(shutil.copytree(made, tmp_path / "made"))


@pytest.mark.parametrize("record", ["scan.json", "plan.yaml", "comparison.json"])
@pytest.mark.parametrize("ending", [".html", ".md", ".png", ".svg"])
def test_a_record_is_written_as_the_files_name_ends(
    records: Path, record: str, ending: str
) -> None:
    begins = {".html": b"<!doctype html>", ".md": b"#", ".png": b"\x89PNG", ".svg": b"<?xml"}
    done = run_spectrum("report", record, "-o", f"x{ending.upper()}", cwd=records)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == f"Wrote x{ending.upper()}.\n"
    assert (records / f"x{ending.upper()}").read_bytes().startswith(begins[ending])


def test_every_record_can_come_from_standard_input(records: Path) -> None:
    for record in ("scan.json", "plan.yaml", "comparison.json"):
        piped = run_spectrum("report", "-", stdin=(records / record).read_bytes(), cwd=records)
        assert piped.returncode == 0, piped.stderr
        assert piped.stdout == run_spectrum("report", record, cwd=records).stdout
    (records / "x.md").write_text("old")
    text = (records / "scan.json").read_bytes()
    written = run_spectrum("report", "-", "-o", "x.md", "--force", stdin=text, cwd=records)
    assert written.returncode == 0, written.stderr
    assert (records / "x.md").read_text("utf-8").startswith("### model, ")


def test_a_name_that_spells_another_schema_does_not_turn_a_scan_into_it(records: Path) -> None:
    table = json.loads((records / "scan.json").read_text("utf-8"))
    table["skipped"].append(
        {"name": "spectrum-ft/run@1", "shape": [4], "reason": "vector", "expert": None}
    )
    (records / "named.json").write_text(json.dumps(table), "utf-8")
    done = run_spectrum("report", "named.json", cwd=records)
    assert done.returncode == 0, done.stderr
    assert "self_attn.q_proj" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("scan.json", "-o", "scan.pdf"), "scan.pdf: a scan cannot be written as .pdf"),
        (("scan.json", "-o", "scan"), "cannot be written as a file without an ending"),
        (("scan.json", "-o", "nowhere/scan.html"), "no such folder"),
        (("scan.json", "-o", "scan.json"), "already exists"),
        (("absent.json",), "absent.json: cannot be read"),
        (("model/config.json",), "config.json"),
        (("model",), "model: holds no finished run and no comparison"),
        (("scan.html", "-o", "scan.html", "--force"), "scan.html: is the record itself"),
    ],
)
def test_what_cannot_be_shown_or_written_is_explained_and_nothing_is_left(
    records: Path, words: tuple[str, ...], message: str
) -> None:
    shutil.copy(records / "scan.json", records / "scan.html")
    before = {path.name for path in records.iterdir()}
    assert_explained(run_spectrum("report", *words, cwd=records), message)
    assert {path.name for path in records.iterdir()} == before
    assert not list(records.glob(f"{TEMPORARY}*"))


@pytest.mark.parametrize(
    "words",
    [
        ("plan.yaml", "--matrices"),
        ("scan.json", "--matrices", "-o", "scan.html"),
        ("scan.json", "--scan", "scan.json"),
        ("scan.json", "--batch-size", "3"),
        ("comparison.json", "--grad-checkpointing"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(records: Path, words: tuple[str, ...]) -> None:
    assert run_spectrum("report", *words, cwd=records).returncode == 2
