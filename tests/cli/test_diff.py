"""`spectrum diff` as a user runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from making import write_llama
from program import assert_explained, run_spectrum
from spectrum_ft.record_files import parse_record, to_record
from spectrum_ft.records.diffs import DIFF_SCHEMA, ScanDiff

UP2 = "model.layers.2.mlp.up_proj.weight"
PUBLISHED = json.dumps(
    {f"model.layers.{i}.mlp.up_proj": {"snr": float(i), "type": "mlp.up_proj"} for i in range(6)}
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of which one tensor differs, their scans, and a result of the published script."""
    home = tmp_path_factory.mktemp("made")
    stored = write_llama(home / "base", layers=6)
    write_llama(home / "tuned", layers=6, shards=2, overrides={UP2: stored[UP2] * 1.5})
    env = {"SPECTRUM_FT_CACHE": str(home / "cache")}
    for name in ("base", "tuned"):
        done = run_spectrum("scan", name, "-o", f"{name}.json", "-q", cwd=home, env=env)
        assert done.returncode == 0, done.stderr
    (home / "published.json").write_text(PUBLISHED)
    shutil.rmtree(home / "cache")
    return home


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of that folder for one test."""
    return shutil.copytree(made, tmp_path / "work")


def record_in(path: Path) -> ScanDiff:
    return to_record(parse_record(path.read_bytes(), str(path)), ScanDiff, DIFF_SCHEMA, str(path))


def test_two_models_are_scanned_and_only_what_changed_is_computed(folder: Path) -> None:
    done = run_spectrum("diff", "base", "tuned", "-o", "diff.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "Scanning base: 42 matrices.",
        "Scanned 42 matrices.",
        "Scanning tuned: 42 matrices.",
        "Scanned 42 matrices. 41 of them were known from earlier scans.",
        "Wrote diff.json.",
    ]
    assert "42 matrices by name: 1 changed, 41 identical" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    found = record_in(folder / "diff.json")
    assert [m.name for m in found.matrices] == [UP2]
    (moved,) = found.matrices
    # A matrix times 1.5 has singular values times 1.5, and the published snr over 1.5.
    assert moved.score_change == pytest.approx(-1 / 3, rel=1e-4)
    assert moved.distance == pytest.approx(1 / 3, rel=1e-4)
    assert moved.spectrum is not None
    assert moved.spectrum.largest == pytest.approx(1 / 3, rel=1e-4)
    assert found.command == "spectrum diff base tuned -o diff.json"


def test_scans_and_models_may_be_mixed(folder: Path) -> None:
    files = run_spectrum("diff", "base.json", "tuned.json", "--json", cwd=folder)
    assert files.stderr == ""
    mixed = run_spectrum("diff", "base", "tuned.json", "--json", cwd=folder)
    piped = run_spectrum(
        "diff", "-", "tuned", "--json", "-q", cwd=folder,
        stdin=(folder / "base.json").read_bytes(),
    )  # fmt: skip
    assert piped.stderr == ""
    tables = [json.loads(done.stdout) for done in (files, mixed, piped)]
    assert tables[0]["schema"] == DIFF_SCHEMA
    assert list(tables[0]) == sorted(tables[0])
    assert tables[0]["kinds"] == tables[1]["kinds"] == tables[2]["kinds"]
    assert [table["a"]["given"] for table in tables] == ["base.json", "base", "-"]


def test_a_diff_of_files_needs_no_cache_and_nothing_heavy(folder: Path, own_cache: Path) -> None:
    code = (
        "import sys; from spectrum_ft_cli.main import run;"
        "assert run(['diff', 'base.json', 'tuned.json']) == 0;"
        "print(*sorted({'torch', 'scipy.stats', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == ""
    assert not own_cache.exists()


def test_a_model_does_not_differ_from_itself(folder: Path) -> None:
    done = run_spectrum("diff", "base.json", "base", cwd=folder)
    assert "no matrix differs in content, score or selection" in done.stdout
    same = run_spectrum("diff", "base", "base", "--json", cwd=folder)
    table = json.loads(same.stdout)
    assert (table["identical"], table["matrices"]) == (42, [])
    assert {kind["correlation"] for kind in table["kinds"]} == {1.0}
    assert same.stderr.count("Scanning") == 1


def test_a_record_is_shown_again_and_written_as_markdown(folder: Path) -> None:
    shown = run_spectrum("diff", "base.json", "tuned.json", "-o", "diff.json", cwd=folder)
    again = run_spectrum("report", "diff.json", cwd=folder)
    assert again.stdout == shown.stdout
    assert run_spectrum("report", "diff.json", "-o", "diff.md", cwd=folder).returncode == 0
    text = (folder / "diff.md").read_text()
    assert "| mlp.up\\_proj | 2 |" in text
    assert "spectrum diff base.json tuned.json -o diff.json" in text
    assert_explained(
        run_spectrum("report", "diff.json", "-o", "diff.md", cwd=folder), "already exists"
    )
    assert_explained(
        run_spectrum("report", "diff.json", "-o", "diff.pdf", cwd=folder), "a diff cannot"
    )
    assert run_spectrum("report", "diff.json", "--matrices", cwd=folder).returncode == 2


def test_results_of_the_published_script_are_compared(folder: Path) -> None:
    done = run_spectrum("diff", "published.json", "base.json", "--kinds", "mlp.up_proj", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "6 unknown, for an import has no digests" in " ".join(done.stdout.split())
    other = run_spectrum("diff", "published.json", "base.json", "--score", "alpha", cwd=folder)
    assert_explained(other, "A (published.json): ")
    assert "has no alpha in this scan" in other.stderr


def test_options_choose_what_is_compared_and_shown(folder: Path) -> None:
    arguments = ("diff", "base.json", "tuned.json", "--kinds", "mlp.*", "--top", "50%")
    table = json.loads(
        run_spectrum(*arguments, "--score", "stable_rank", "--json", cwd=folder).stdout
    )
    assert (table["score"], table["share"], table["asked_kinds"]) == ("stable_rank", 0.5, ["mlp.*"])
    assert {kind["overlap"]["taken_a"] for kind in table["kinds"]} == {3}
    none = run_spectrum(*arguments, "--limit", "0", cwd=folder)
    assert "differ, none is listed" in none.stdout
    models = run_spectrum("diff", "base", "tuned", "--kinds", "mlp.*", "--workers", "1", cwd=folder)
    assert "Scanned 18 matrices. 17 of them were known" in models.stderr


def test_an_option_without_effect_is_pointed_out(folder: Path) -> None:
    done = run_spectrum("diff", "base.json", "tuned.json", "--workers", "2", cwd=folder)
    assert done.returncode == 0
    assert "change nothing" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("base.json", "absent.json"), "No such file"),
        (("base.json", "./absent"), "no such file or folder"),
        (("base.json", "empty.json"), "empty"),
        (("broken.json", "base.json"), "neither a record nor a result file"),
        (("newer.json", "base.json"), "newer version"),
        (("plan.json", "base.json"), "not a spectrum-ft/scan record"),
        (("base.json", "other.json"), "no matrix is scored in both"),
        (("base.json", "tuned.json", "--kinds", "mlp.upproj"), "no kind matches 'mlp.upproj'"),
        (("base", "tuned.json", "-o", "base/diff.json"), "own folder"),
        (("base.json", "tuned", "-o", "tuned/diff.json"), "own folder"),
        (("base.json", "tuned.json", "-o", "tuned.json", "--force"), "is what is read"),
        (("base.json", "tuned.json", "-o", "published.json"), "already exists"),
        (("base.json", "tuned.json", "-o", "nowhere/diff.json"), "no such folder"),
        (("base.json", "tuned.json", "-o", "-"), "not a file name"),
        (("base.json", "pickled"), "pickles can run code"),
        (("base", "tuned", "--device", "cuda:99"), "cuda"),
    ],
)
def test_what_cannot_be_compared_is_explained(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    (folder / "empty.json").write_text("")
    (folder / "broken.json").write_text("{{")
    (folder / "newer.json").write_text('{"schema": "spectrum-ft/scan@2"}')
    (folder / "plan.json").write_text('{"schema": "spectrum-ft/plan@1"}')
    (folder / "other.json").write_text(PUBLISHED.replace("up_proj", "other"))
    (folder / "pickled").mkdir()
    (folder / "pickled" / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert_explained(run_spectrum("diff", *arguments, cwd=folder), message)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("-", "-"),
        ("base.json",),
        ("base.json", "tuned.json", "extra.json"),
        ("base.json", "tuned.json", "--top", "0%"),
        ("base.json", "tuned.json", "--top", "nan"),
        ("base.json", "tuned.json", "--score", "srn"),
        ("base.json", "tuned.json", "--limit", "-1"),
        ("base.json", "tuned.json", "--limit", "many"),
        ("base.json", "tuned.json", "--workers", "0"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_a_usage_error(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    done = run_spectrum("diff", *arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.\x1b[2J[red]\u202eevil.weight"
    for seed in (1, 2):
        chance = np.random.default_rng(seed)
        values = chance.standard_normal((64, 64)).astype(np.float32)
        write_llama(tmp_path / str(seed), layers=4, overrides={name: values})
    done = run_spectrum("diff", tmp_path / "1", tmp_path / "2")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout + done.stderr
    assert "\\x1b[2J[red]\\u202eevil" in done.stdout.replace("\n", "").replace(" ", "")
    refused = run_spectrum("diff", tmp_path / "1", tmp_path / "2", "--kinds", "mlp.\x1b[2J")
    assert_explained(refused, "no kind matches")
    assert "\x1b" not in refused.stderr


def test_a_damaged_model_is_named_before_anything_is_written(folder: Path) -> None:
    weights = folder / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    done = run_spectrum("diff", "tuned.json", "base", "-o", "diff.json", cwd=folder)
    assert_explained(done, "truncated")
    assert not (folder / "diff.json").exists()
