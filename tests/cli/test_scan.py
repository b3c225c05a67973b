"""`spectrum scan` as a user runs it: outputs, refusals, interruptions."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from making import write_llama
from program import PROGRAM, assert_explained, run_spectrum
from spectrum_ft.record_files import parse_record, to_record
from spectrum_ft.records.scans import SCAN_SCHEMA, ScanReport


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_llama(tmp_path / "model", layers=6)
    return tmp_path / "model"


def record_in(path: Path) -> ScanReport:
    return to_record(parse_record(path.read_bytes(), str(path)), ScanReport, SCAN_SCHEMA, str(path))


def test_the_report_goes_to_stdout_and_talk_to_stderr(model: Path, tmp_path: Path) -> None:
    done = run_spectrum("scan", "model", "-o", "scan.json", cwd=tmp_path)
    assert done.returncode == 0
    assert "self_attn.q_proj" in done.stdout
    assert "spectrum, 25 % of each kind by snr" in done.stdout
    assert done.stderr.splitlines() == [
        "Scanning model: 42 matrices.",
        "Scanned 42 matrices.",
        "Wrote scan.json.",
        "Next: spectrum plan scan.json --top 25% -o plan.yaml",
    ]
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "\x1b" not in done.stdout + done.stderr
    assert len(record_in(tmp_path / "scan.json").matrices) == 42


def test_json_is_the_record_and_nothing_else(model: Path) -> None:
    done = run_spectrum("scan", model, "--json")
    table = json.loads(done.stdout)
    assert table["schema"] == "spectrum-ft/scan@1"
    assert list(table) == sorted(table)
    assert done.stdout.endswith("}\n")
    assert done.stderr.splitlines()[-1] == "Scanned 42 matrices."


def test_quiet_says_nothing_but_the_result(model: Path) -> None:
    done = run_spectrum("scan", model, "-q")
    assert done.stderr == ""
    assert done.stdout


def test_every_matrix_is_listed_on_demand(model: Path) -> None:
    brief = run_spectrum("scan", model)
    full = run_spectrum("scan", model, "--matrices")
    assert brief.stdout.count("mlp.up_proj") == 1
    assert full.stdout.count("mlp.up_proj") == 7
    assert all(len(line) <= 80 for line in full.stdout.splitlines())


def test_a_second_scan_says_what_it_already_knew(model: Path) -> None:
    run_spectrum("scan", model)
    done = run_spectrum("scan", model)
    assert "Scanned 42 matrices. 42 of them were known from earlier scans." in done.stderr
    alone = run_spectrum("scan", model, "--no-cache")
    assert "known from earlier" not in alone.stderr


def test_no_cache_leaves_no_cache(model: Path, own_cache: Path) -> None:
    assert run_spectrum("scan", model, "--no-cache").returncode == 0
    assert not own_cache.exists()


def test_an_existing_output_is_refused_before_any_work(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "scan.json"
    output.write_text("precious")
    done = run_spectrum("scan", model, "-o", output)
    assert_explained(done, "already exists")
    assert "Scanning" not in done.stderr
    assert output.read_text() == "precious"
    assert run_spectrum("scan", model, "-o", output, "--force").returncode == 0
    assert record_in(output).matrices


def test_the_models_own_folder_is_never_written_to(model: Path) -> None:
    before = sorted(path.name for path in model.iterdir())
    assert_explained(run_spectrum("scan", model, "-o", model / "scan.json"), "own folder")
    assert sorted(path.name for path in model.iterdir()) == before


def test_an_output_in_a_folder_that_is_not_there_is_refused(model: Path, tmp_path: Path) -> None:
    done = run_spectrum("scan", model, "-o", tmp_path / "nowhere" / "scan.json")
    assert_explained(done, "no such folder")


def spoil(model: Path, **overrides: np.ndarray) -> None:
    write_llama(model, layers=6, overrides=overrides)


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=4, shards=3)
    shard = tmp_path / "model" / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1000])
    done = run_spectrum("scan", tmp_path / "model", "-o", tmp_path / "scan.json")
    assert_explained(done, "model-00002-of-00003.safetensors: truncated: 1,000 bytes")
    assert not (tmp_path / "scan.json").exists()


def test_an_index_that_points_outside_the_folder_is_refused(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=4, shards=2)
    index = tmp_path / "model" / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00001", "../model-00001", 1))
    assert_explained(run_spectrum("scan", tmp_path / "model"), "not a plain name")


def test_nan_and_zero_matrices_are_skipped_with_reasons_and_never_selected(tmp_path: Path) -> None:
    nan, zero = "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"
    bad = np.ones((160, 64), dtype=np.float32)
    bad[0, 0] = np.nan
    spoil(tmp_path / "model", **{nan: bad, zero: np.zeros((160, 64), dtype=np.float32)})
    done = run_spectrum("scan", "model", "-o", "scan.json", cwd=tmp_path)
    assert done.returncode == 0
    shown = " ".join(done.stdout.split())
    assert "1 × holds NaN or infinite weights" in shown
    assert "1 × all weights are zero" in shown
    listed = run_spectrum("plan", "scan.json", "--top", "100%", "--export", "list", cwd=tmp_path)
    assert len(listed.stdout.splitlines()) == 40
    assert nan not in listed.stdout
    assert zero not in listed.stdout


def test_a_folder_without_weights_says_what_was_looked_for(tmp_path: Path) -> None:
    assert_explained(run_spectrum("scan", tmp_path), "no weights here")


def test_an_unknown_kind_is_answered_with_the_nearest(model: Path) -> None:
    done = run_spectrum("scan", model, "--kinds", "mlp.upproj")
    assert_explained(done, "no kind matches 'mlp.upproj'")
    assert "Hint: did you mean mlp.up_proj?" in done.stderr


def test_pickled_weights_are_refused_without_the_option(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    done = run_spectrum("scan", tmp_path)
    assert_explained(done, "pickles can run code")
    assert "--allow-pickle" in done.stderr


def test_what_is_neither_path_nor_hub_id_is_refused() -> None:
    assert_explained(run_spectrum("scan", "./no/such/model"), "no such file or folder")


def test_verbose_shows_where_an_error_came_from(tmp_path: Path) -> None:
    done = run_spectrum("scan", tmp_path, "-v")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-2].startswith("Error: ")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.\x1b[2J[red]\u202eevil.weight"
    chance = np.random.default_rng(1)
    spoil(tmp_path / "model", **{name: chance.standard_normal((64, 64)).astype(np.float32)})
    done = run_spectrum("scan", tmp_path / "model", "--matrices")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout + done.stderr
    assert "\\x1b[2J[red]\\u202eevil" in done.stdout.replace("\n", "").replace(" ", "")


def test_a_reader_that_goes_away_is_no_error(model: Path) -> None:
    command = f"{PROGRAM} scan {model} --json -q | head -c 10"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], check=False, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_an_output_that_is_the_input_is_refused(model: Path) -> None:
    weights = model / "model.safetensors"
    before = weights.read_bytes()
    assert_explained(run_spectrum("scan", weights, "-o", weights, "--force"), "is what is read")
    assert weights.read_bytes() == before


def test_a_full_disk_behind_standard_output_is_an_error_of_one_line(model: Path) -> None:
    command = f"exec {PROGRAM} scan {model} --json -q >/dev/full"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: the result cannot be written (No space left on device)\n"


def test_a_layer_number_that_makes_no_sense_does_not_hang_the_report(tmp_path: Path) -> None:
    name = "model.layers.999999999.mlp.up_proj.weight"
    chance = np.random.default_rng(1)
    spoil(tmp_path / "model", **{name: chance.standard_normal((64, 64)).astype(np.float32)})
    assert run_spectrum("scan", tmp_path / "model").returncode == 0


def test_a_closed_standard_output_is_no_crash(model: Path) -> None:
    command = f"exec {PROGRAM} scan {model} --json -q >&-"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_dash_is_no_name_for_an_output(model: Path, tmp_path: Path) -> None:
    done = run_spectrum("scan", model, "-o", "-", cwd=tmp_path)
    assert_explained(done, "not a file name")
    assert not (tmp_path / "-").exists()


def start_scan(model: Path, output: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROGRAM, "scan", str(model), "-o", str(output), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=model.parent,
    )


def rows_kept(cache: Path) -> int:
    """The distinct matrices in the store, as another process sees them."""
    store = cache / "spectra.sqlite"
    if not store.exists():
        return 0
    with sqlite3.connect(store, timeout=30.0) as database:
        (tables,) = database.execute("select count(*) from sqlite_master").fetchone()
        if tables == 0:
            return 0
        (count,) = database.execute("select count(distinct digest) from spectra").fetchone()
    database.close()
    return int(count)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_scan_keeps_its_work_and_says_so(
    tmp_path: Path, own_cache: Path, number: signal.Signals, code: int
) -> None:
    # Large enough that the rows are seen, and the signal arrives, long before the last matrix.
    write_llama(tmp_path / "model", layers=6, hidden=1024)
    process = start_scan(tmp_path / "model", tmp_path / "scan.json")
    deadline = time.monotonic() + 60
    while rows_kept(own_cache) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors.splitlines()[-1].startswith("Interrupted. The matrices scored so far are kept")
    assert not (tmp_path / "scan.json").exists()
    kept = rows_kept(own_cache)
    done = run_spectrum("scan", tmp_path / "model")
    assert 3 <= kept < 42
    assert f"{kept} of them were known from earlier scans." in done.stderr


@pytest.mark.slow
def test_killed_at_twenty_random_moments_a_scan_ends_the_same_and_repeats_nothing(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_llama(tmp_path / "model", layers=16, hidden=512)
    output = tmp_path / "scan.json"
    started = time.monotonic()
    undisturbed = start_scan(tmp_path / "model", output)
    undisturbed.communicate()
    duration = time.monotonic() - started
    expected = comparable(output)
    chance = random.Random(2406)
    caught_at_work = 0
    for attempt in range(20):
        monkeypatch.setenv("SPECTRUM_FT_CACHE", str(cache := tmp_path / f"cache-{attempt}"))
        output.unlink()
        process = start_scan(tmp_path / "model", output)
        time.sleep(chance.uniform(0.0, duration))
        process.kill()
        process.communicate()
        kept = rows_kept(cache)
        done = run_spectrum(
            "scan", tmp_path / "model", "-o", output, "--workers", "1", "--force",
            cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert comparable(output) == expected
        known = f" {kept} of them were known from earlier scans." if kept else ""
        assert done.stderr.splitlines()[1] == f"Scanned 112 matrices.{known}"
        caught_at_work += 0 < kept < 112
        assert not [path for path in os.listdir(tmp_path) if path.startswith(".spectrum-ft-")]
    # The moments are random, but this many of them must have met a scan half-way.
    assert caught_at_work >= 5


def comparable(output: Path) -> bytes:
    """The bytes of a scan.json without what tells time, and without the command that made it."""
    lines = output.read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith((b'"seconds"', b'"command"')))
