"""`spectrum train` as a user runs it: what it says, leaves behind, and takes up again."""

import json
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import pytest
import yaml

from program import assert_explained, run_spectrum
from spectrum_ft.planning.plan_files import parse_plan
from spectrum_ft.records.training import TrainSettings
from spectrum_ft_cli.main import cli
from spectrum_ft_cli.stopping import Stopping
from train_program import (
    ARGUMENTS,
    Spectrum,
    in_folder,
    make_unfinished,
    signal_after_two_steps,
)

ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # more of them wait for each other on a busy machine


def test_every_setting_is_an_option_with_the_settings_own_default() -> None:
    command = cli.get_command(click.Context(cli), "train")
    assert command is not None
    options = {p.name: p for p in command.params if isinstance(p, click.Option)}
    defaults = TrainSettings(data="x")
    for field in fields(TrainSettings):
        option = options[field.name]
        if field.name not in ("data", "columns", "report_to"):
            context = click.Context(command)
            assert option.get_default(context) == getattr(defaults, field.name)


def test_help_does_not_load_torch() -> None:
    code = (
        "import sys; from spectrum_ft_cli.main import run; run(['train', '--help']); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0


@pytest.mark.slow
def test_a_whole_run_says_what_it_does_and_nothing_else(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    recipe = ("--preset", "hybrid", "--data", "data.jsonl", "--eval", "eval.jsonl")
    options = ("--max-steps", "24", "--batch-size", "2", "--grad-checkpointing", "--lr", "1e-3")
    done = run_spectrum("train", "model", *recipe, *options, "-o", output, cwd=made, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[:3] == ["Scanning model: 28 matrices.", "Scanned 28 matrices.", lines[2]]
    assert lines[2] == "Loading libraries ..."
    labels = ["data", "held-out", "model", "trains", "adapters", "rest", "backward", "steps"]
    contract = lines[3 : lines.index("Loading the model ...")]
    assert [line.split()[0] for line in contract if line[0] != " "] == [*labels, "memory"]
    assert "in nf4" in done.stderr
    steps = [line for line in lines if line.startswith("step ")]
    assert 2 <= len(steps) <= 21
    assert steps[-1].startswith("step 24/24  loss ")
    assert lines[-2].startswith("held-out loss ")
    assert lines[-1] == f"Next: spectrum merge {output} -o {output}-merged"
    after = lines[lines.index("Loading the model ...") + 1 : -1]
    assert all(line.startswith(("step ", "held-out loss ")) for line in after), done.stderr
    assert "over 24 steps" in done.stdout
    assert "of the weights that train" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "\x1b" not in done.stdout + done.stderr
    assert json.loads((output / "run.json").read_text())["schema"] == "spectrum-ft/run@1"


def test_json_is_the_record_and_quiet_says_nothing(folder: Path, spectrum: Spectrum) -> None:
    done = spectrum("train", "model", *ARGUMENTS, "--max-steps", "2", "-o", "new", "--json", "-q")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout == (folder / "new" / "run.json").read_text()


def test_a_run_is_shown_again_from_its_folder_or_its_record(
    folder: Path, spectrum: Spectrum
) -> None:
    trained = spectrum("train", "model", *ARGUMENTS, "--max-steps", "2", "-o", "new")
    assert trained.returncode == 0
    assert spectrum("report", "new").stdout == trained.stdout
    assert "over 2 steps" in spectrum("report", "new/run.json").stdout
    assert spectrum("report", "new", "--matrices").returncode == 2
    make = folder / "run"
    make_unfinished(make)
    assert_explained(spectrum("report", "run"), "not finished")


def test_a_dry_run_prints_the_contract_and_writes_nothing(folder: Path, spectrum: Spectrum) -> None:
    before = in_folder(folder)
    recipe = ("train", "model", "--top", "50%", "--data", "data.jsonl", "--dry-run")
    done = spectrum(*recipe)
    assert done.returncode == 0, done.stderr
    assert "steps     3 of 4 rows" in done.stdout
    assert "12 examples" in done.stdout
    table = json.loads(spectrum(*recipe, "--json").stdout)
    assert table["steps"] == 3
    assert spectrum(*recipe, "-o", "new").returncode == 0
    assert in_folder(folder) == before
    assert not (folder / "new").exists()


def test_a_plan_is_made_on_the_spot_and_kept(folder: Path, spectrum: Spectrum) -> None:
    options = ("--data", "data.jsonl", "--max-steps", "1", "--warmup", "0", "-o", "new")
    assert spectrum("train", "model", "--preset", "lowest", *options).returncode == 0
    planned = spectrum("plan", "model", "--preset", "lowest", "--json").stdout
    plan = parse_plan((folder / "new" / "plan.yaml").read_bytes(), "plan.yaml")
    assert list(plan.train) == json.loads(planned)["train"]


def test_a_run_can_be_made_again_from_its_configuration(folder: Path, spectrum: Spectrum) -> None:
    options = ("--column", "messages=messages", "--packing", "--max-steps", "2", "--force")
    assert spectrum("train", "model", *ARGUMENTS, *options, "-o", "one").returncode == 0
    kept = yaml.safe_load((folder / "one" / "config.yaml").read_text())
    assert kept["plan"] == "plan.yaml"
    assert kept["max-steps"] == 2
    assert not {"output", "force", "epochs", "preset", "top", "json"} & set(kept)
    again = ("train", "model", "--config", "one/config.yaml", "-o", "two")
    assert spectrum(*again).returncode == 0
    one, two = (json.loads((folder / run / "run.json").read_text()) for run in ("one", "two"))
    assert one["settings"] == two["settings"]
    assert one["last_loss"] == two["last_loss"]
    shown = spectrum("train", "model", "--config", "one/config.yaml", "--show-config")
    assert yaml.safe_load(shown.stdout)["packing"] is True


def test_the_command_line_overrules_the_configuration(folder: Path, spectrum: Spectrum) -> None:
    (folder / "c.yaml").write_text(
        "plan: plan.yaml\nmax-steps: 7\ndata: data.jsonl\npacking: yes\n"
    )
    recipe = ("train", "model", "--config", "c.yaml", "--dry-run", "--json")
    assert json.loads(spectrum(*recipe).stdout)["steps"] == 7
    assert json.loads(spectrum(*recipe, "--epochs", "2", "--no-packing").stdout)["steps"] == 6
    by_preset = json.loads(spectrum(*recipe, "--preset", "full").stdout)
    assert by_preset["trained"] == by_preset["total"]


def test_an_unfinished_run_goes_on_and_a_finished_one_is_replaced_by_force(
    folder: Path, spectrum: Spectrum
) -> None:
    finished = json.loads((folder / "run" / "run.json").read_text())
    make_unfinished(folder / "run")
    options = (*ARGUMENTS, "--max-steps", "6", "-o", "run")
    done = spectrum("train", "model", *options)
    assert done.returncode == 0, done.stderr
    assert "Going on after step 4 of 6." in done.stderr
    resumed = json.loads((folder / "run" / "run.json").read_text())
    # Bit by bit the same: the plan is made on float32 masters, on one machine.
    assert resumed["last_loss"] == finished["last_loss"]
    assert resumed["moved"] == finished["moved"]
    anew = spectrum("train", "model", *options, "--force")
    assert anew.returncode == 0
    assert "Going on" not in anew.stderr


def test_a_run_goes_on_from_the_step_that_was_named(folder: Path, spectrum: Spectrum) -> None:
    make_unfinished(folder / "run")
    options = (*ARGUMENTS, "--max-steps", "6", "-o", "run", "--resume-from")
    absent = spectrum("train", "model", *ARGUMENTS, "-o", "new", "--resume-from", "3")
    assert_explained(absent, "no step 3")
    assert_explained(spectrum("train", "model", *options, "3"), "step-000003")
    done = spectrum("train", "model", *options, "2")
    assert "Going on after step 2 of 6." in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_a_signal_stops_after_the_step_and_the_same_command_goes_on(
    folder: Path, spectrum: Spectrum, number: signal.Signals, code: int
) -> None:
    options = ("train", "model", *ARGUMENTS, "--max-steps", "300", "-o", "new")
    sender = signal_after_two_steps(folder / "new" / "metrics.jsonl", number)
    done = spectrum(*options)
    sender.join()
    assert done.returncode == code
    assert done.stdout == ""
    (checkpoint,) = (folder / "new" / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    last = f"Interrupted after step {step}. The same command goes on from there."
    assert done.stderr.splitlines()[-1] == last
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    sender = signal_after_two_steps(folder / "new" / "metrics.jsonl", number, more_than=step)
    again = spectrum(*options)
    sender.join()
    assert f"Going on after step {step} of 300." in again.stderr


def test_a_second_signal_leaves_at_once_and_so_does_one_before_the_first_step() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Stopping() as stopping:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert not stopping.asked()
        stopping.arm()
        signal.raise_signal(signal.SIGINT)
        assert stopping.asked()
        assert stopping.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_signals_that_are_ignored_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stopping() as stopping:
            stopping.arm()
            signal.raise_signal(signal.SIGINT)
            assert not stopping.asked()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_terminal_gets_one_live_view_that_goes_away(
    folder: Path, spectrum: Spectrum, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # what rich takes a stream for a terminal by
    options = ("--eval", "eval.jsonl", "--max-steps", "8", "-o", "new")
    done = spectrum("train", "model", *ARGUMENTS, *options)
    assert done.returncode == 0, done.stderr
    assert "8/8, " in done.stderr
    assert "loss" in done.stderr
    assert "step 8/8  loss" not in done.stderr
    cursor_shown = "\x1b[?25h"
    assert cursor_shown in done.stderr
    assert "Next: spectrum merge new" in done.stderr.split(cursor_shown)[1]
