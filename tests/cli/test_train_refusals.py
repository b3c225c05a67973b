"""`spectrum train` where something is wrong: explained in a line, and nothing left behind."""

import fcntl
from pathlib import Path

import pytest
import yaml

from program import assert_explained
from train_program import ARGUMENTS, Spectrum, in_folder, make_unfinished


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--plan", "p", "--data", "d", "--epochs", "1", "--max-steps", "2"), "--max-steps"),
        (("--plan", "p", "--preset", "spectrum", "--data", "d"), "--preset"),
        (("--plan", "p", "--top", "25%", "--data", "d"), "--plan"),
        (("--data", "d"), "Say what trains"),
        (("--plan", "p"), "--data"),
        (("--plan", "p", "--data", "d", "--column", "text"), "NAME=FIELD"),
        (("--plan", "p", "--data", "d", "--column", "=text"), "NAME=FIELD"),
        (("--plan", "p", "--data", "d", "--column", "a=prompt", "--column", "a=text"), "twice"),
        (("--plan", "p", "--data", "d", "--scheduler", "cosin"), "--scheduler"),
        (("--plan", "p", "--data", "d", "--seed", "4294967296"), "--seed"),
        (("--plan", "p", "--data", "d", "--lr", "fast"), "--lr"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_a_usage_error(
    spectrum: Spectrum, options: tuple[str, ...], message: str
) -> None:
    done = spectrum("train", "model", *options, "-o", "run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_needs_a_folder_unless_it_is_dry(spectrum: Spectrum) -> None:
    done = spectrum("train", "model", "--plan", "p", "--data", "d")
    assert done.returncode == 2
    assert "'-o'" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lr", "0"), "--lr 0.0: not above 0"),
        (("--lr", "nan"), "--lr nan"),
        (("--max-length", "1"), "--max-length 1: too small"),
        (("--warmup", "1"), "--warmup 1.0"),
        (("--patience", "2"), "held-out data"),
        (("--optimizer", "adamm"), "adamm"),
        (("--optim", "adamw_8bit"), "needs a CUDA GPU"),
        (("--precision", "stochastic"), "16-bit weights"),
        (("--report-to", "trackio"), "trackio is not installed"),
        (("--data", "absent.jsonl"), "absent.jsonl"),
        (("--data", "empty.jsonl"), "empty"),
        (("--data", "bad.jsonl"), "17"),
        (("--eval", "bad.jsonl"), "17"),
        (("--max-length", "4"), "12 of 12 examples have nothing to learn"),
        (("--column", "absent=messages"), "absent"),
        (("--plan", "absent.yaml"), "absent.yaml"),
        (("--plan", "misspelt.yaml"), "model.layers.0.mlp.up_prj.weight"),
        (("--plan", "emptied.yaml"), "trains nothing"),
        (("--plan", "other.yaml"), "made for"),
        (("-o", "model/run"), "model's own folder"),
        (("-o", "model"), "model's own folder"),
        (("-o", "data.jsonl"), "is a file"),
        (("-o", "-"), "not the name of a folder"),
        (("-o", "elsewhere"), "holds something else"),
        (("-o", "run"), "finished run"),
    ],
)
def test_what_cannot_be_done_is_explained_and_nothing_is_written(
    folder: Path, spectrum: Spectrum, options: tuple[str, ...], message: str
) -> None:
    lines = (folder / "data.jsonl").read_text().splitlines()
    (folder / "bad.jsonl").write_text("\n".join([*lines, *lines[:4], "{broken", *lines]))
    (folder / "empty.jsonl").touch()
    text = (folder / "plan.yaml").read_text()
    plan = yaml.safe_load(text)
    misspelt = {**plan, "train": [*plan["train"], "model.layers.0.mlp.up_prj.weight"]}
    (folder / "misspelt.yaml").write_text(yaml.safe_dump(misspelt))
    (folder / "emptied.yaml").write_text(yaml.safe_dump({**plan, "train": []}))
    other = {**plan, "model": {**plan["model"], "fingerprint": "0" * 64}}
    (folder / "other.yaml").write_text(yaml.safe_dump(other))
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "letter.txt").write_text("dear")
    before = in_folder(folder)
    done = spectrum("train", "model", *ARGUMENTS, "-o", "new", *options)
    assert_explained(done, message)
    after = in_folder(folder)
    after = {name: after[name] for name in after if not name.endswith("/lock")}
    before.pop("run/lock")
    assert after == before


def test_two_runs_at_once_in_one_folder_are_refused(folder: Path, spectrum: Spectrum) -> None:
    make_unfinished(folder / "run")
    with (folder / "run" / "lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = spectrum("train", "model", *ARGUMENTS, "--max-steps", "6", "-o", "run")
    assert_explained(done, "another run is at work there")


def test_other_settings_are_listed_and_refused(folder: Path, spectrum: Spectrum) -> None:
    make_unfinished(folder / "run")
    arguments = [*ARGUMENTS, "--max-steps", "6", "-o", "run", "--keep", "9"]
    arguments[arguments.index("1e-3")] = "2e-3"
    before = in_folder(folder / "run" / "checkpoints")
    done = spectrum("train", "model", *arguments, "--seed", "1")
    assert_explained(done, "lr was 0.001, is 0.002; seed was 0, is 1")
    assert in_folder(folder / "run" / "checkpoints") == before


def test_a_loss_that_goes_astray_ends_the_run_and_keeps_earlier_checkpoints(
    folder: Path, spectrum: Spectrum
) -> None:
    options = ("--max-steps", "6", "--save-every", "1", "--lr", "1e30", "-o", "new")
    done = spectrum("train", "model", *ARGUMENTS, *options)
    # The first step goes far astray; in the second, nothing is left to tell the weights by.
    assert_explained(done, "at step 2")
    assert "--lr" in done.stderr
    kept = sorted(path.name for path in (folder / "new" / "checkpoints").iterdir())
    assert kept == ["step-000001"]
    assert not (folder / "new" / "run.json").exists()


def test_settings_without_effect_are_warned_of(folder: Path, spectrum: Spectrum) -> None:
    rates = ("--lora-lr", "1e-3", "--dtype", "bfloat16", "--precision", "as-is")
    done = spectrum("train", "model", *ARGUMENTS, *rates, "--dry-run", "--preset", "spectrum")
    assert done.returncode == 2  # a plan and a preset
    done = spectrum("train", "model", *ARGUMENTS, *rates, "--max-steps", "3", "-o", "new")
    assert "Warning: --lora-lr has no effect: nothing carries an adapter." in done.stderr
    assert "Warning: --precision as-is" in done.stderr
    adapters = ("--preset", "lora", "--data", "data.jsonl", "--lr", "1e-3", "--dry-run")
    done = spectrum("train", "model", *adapters)
    assert "Warning: --lr has no effect: nothing trains in full." in done.stderr
