"""`spectrum eval` as a user runs it: what it says, writes, and refuses before it loads a model."""

import json
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from chat_data import write_jsonl
from program import assert_explained, run_spectrum
from spectrum_ft.records.evaluations import EvalSettings
from spectrum_ft_cli.main import cli
from spectrum_ft_cli.values import each_once
from train_program import Spectrum, in_folder

DATA = ("--data", "eval.jsonl")


def test_every_evaluation_setting_is_an_option_with_the_settings_own_default() -> None:
    command = cli.get_command(click.Context(cli), "eval")
    assert command is not None
    options = {p.name: p for p in command.params if isinstance(p, click.Option)}
    defaults = EvalSettings(data="x")
    for field in fields(EvalSettings):
        option = options[field.name]
        if field.name not in ("data", "columns"):
            context = click.Context(command)
            assert option.get_default(context) == getattr(defaults, field.name)


def test_lists_come_by_commas_or_one_by_one_and_name_a_thing_once() -> None:
    assert each_once(("loss, choice", "loss", "exact-match,")) == ("loss", "choice", "exact-match")
    assert each_once(()) == ()


@pytest.mark.slow
def test_a_run_is_measured_in_a_process_of_its_own(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "eval.json"
    options = ("--metric", "loss,exact-match,choice", "--max-new-tokens", "4", "-o", output)
    done = run_spectrum(*("eval", "run", *DATA), *options, cwd=made, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "Loading libraries ...",
        "Loading the model ...",
        "Evaluating on 5 questions ...",
        f"Wrote {output}.",
    ]
    labels = [line.split("  ")[0] for line in done.stdout.splitlines() if line.strip()]
    assert labels[0] == "run on eval.jsonl"
    measured = ["exact match", "choice", "loss", "model", "data", "time", "memory"]
    assert [label for label in labels if label in measured] == measured
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "\x1b" not in done.stdout + done.stderr
    assert json.loads(output.read_text())["schema"] == "spectrum-ft/evaluation@1"


def test_a_run_is_measured_as_its_training_measured_it(folder: Path, spectrum: Spectrum) -> None:
    options = ("--plan", "plan.yaml", "--data", "data.jsonl", *("--eval", "eval.jsonl"))
    few = ("--max-steps", "2", "--batch-size", "2", "--lr", "1e-2", "-q", "--json")
    trained = json.loads(spectrum("train", "model", *options, *few, "-o", "new").stdout)
    done = spectrum("eval", "new", *DATA, "--metric", "loss", "--json", "-q")
    assert done.stderr == ""
    # The same weights in float32; rows are batched otherwise.
    assert json.loads(done.stdout)["loss"] == pytest.approx(trained["eval_loss"], rel=1e-5)


def test_the_record_is_shown_again_and_printed_as_json(folder: Path, spectrum: Spectrum) -> None:
    recipe = ("eval", "model", *DATA, "--max-new-tokens", "3", "-o", "eval.json")
    done = spectrum(*recipe)
    assert done.returncode == 0, done.stderr
    assert spectrum("report", "eval.json").stdout == done.stdout
    assert spectrum("report", "eval.json", "--matrices").returncode == 2
    table = json.loads((folder / "eval.json").read_text())
    assert table["source"] == "model"
    assert len(table["outcomes"]) == 5
    assert_explained(spectrum(*recipe), "already exists")
    again = spectrum(*recipe, "--force", "--json")
    assert again.stdout == (folder / "eval.json").read_text()


def test_solved_examples_votes_and_a_general_text(folder: Path, spectrum: Spectrum) -> None:
    (folder / "general.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 9)
    options = ("--few-shot", "2", "--examples", "data.jsonl", "--votes", "3", "--limit", "2")
    more = ("--general", "general.txt", "--max-new-tokens", "2", "--batch-size", "4", "--seed", "7")
    done = spectrum("eval", "model", *DATA, *options, *more)
    assert done.returncode == 0, done.stderr
    assert "2 solved examples of data.jsonl in front of each question" in done.stdout
    assert "the text general.txt" in done.stdout
    assert "3 at most, at temperature 0.7" in done.stdout
    assert "of 2 questions" in done.stdout
    assert "Warning" not in done.stderr


def test_columns_and_an_answers_pattern(folder: Path, spectrum: Spectrum) -> None:
    rows = [{"ask": f"card {n}?", "solution": f"so #### {n},000.0"} for n in (1, 2)]
    write_jsonl(folder / "sums.jsonl", rows)
    options = ("--column", "ask=prompt", "--column", "solution=completion", "--json")
    pattern = ("--answer-pattern", "#### (-?[0-9.,]+)", "--max-new-tokens", "2")
    done = spectrum("eval", "model", "--data", "sums.jsonl", *options, *pattern)
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    assert [outcome["expected"] for outcome in table["outcomes"]] == ["1000", "2000"]
    nothing = ("--answer-pattern", "=> (x)")
    done = spectrum("eval", "model", "--data", "sums.jsonl", *options, *nothing)
    assert_explained(done, "sums.jsonl, line 1")


def test_options_without_effect_are_named(folder: Path, spectrum: Spectrum) -> None:
    idle = ("--examples", "data.jsonl", "--temperature", "1.5", "--max-new-tokens", "9")
    done = spectrum("eval", "model", *DATA, "--metric", "loss", *idle)
    assert done.returncode == 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("Warning: ")]
    assert [line.split()[1] for line in warnings] == [
        "--examples",
        "--temperature",
        "--max-new-tokens",
    ]


def test_options_come_from_a_configuration_file(folder: Path, spectrum: Spectrum) -> None:
    (folder / "c.yaml").write_text("data: eval.jsonl\nmetric: [loss, choice]\nlimit: 3\n")
    done = spectrum("eval", "model", "--config", "c.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["settings"]["metrics"] == ["loss", "choice"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model", "--data", "none.jsonl"), "none.jsonl"),
        (("nowhere/at/all", *DATA), "nowhere/at/all"),
        (("model", *DATA, "--metric", "bleu"), "no known metric"),
        (("model", *DATA, "--metric", ","), "no known metric"),
        (("model", *DATA, "--few-shot", "2"), "solved examples"),
        (("model", *DATA, "--few-shot", "99", "--examples", "data.jsonl"), "too few"),
        (("model", *DATA, "--votes", "0"), "too small"),
        (("model", *DATA, "--temperature", "nan"), "not above 0"),
        (("model", *DATA, "--answer-pattern", "(("), "no regular expression"),
        (("model", *DATA, "--answer-pattern", "x"), "no group"),
        (("model", *DATA, "--general", "none.txt"), "none.txt"),
        (("model", *DATA, "--max-new-tokens", "9999"), "512 positions"),
        (("model", *DATA, "-o", "model/eval.json"), "model's own folder"),
        (("model", *DATA, "-o", "-"), "not a file name"),
        (("text", *DATA), "text"),
    ],
)
def test_a_mistake_is_explained(
    folder: Path, spectrum: Spectrum, arguments: tuple[str, ...], message: str
) -> None:
    (folder / "text").mkdir()
    before = in_folder(folder)
    assert_explained(spectrum("eval", *arguments, "-q"), message)
    assert in_folder(folder) == before


def test_a_run_that_cannot_be_opened_is_explained(folder: Path, spectrum: Spectrum) -> None:
    result = folder / "run" / "result" / "trained.safetensors"
    result.write_bytes(result.read_bytes()[:-1] + b"\x7f")
    assert_explained(spectrum("eval", "run", *DATA, "-q"), "trained.safetensors")
    (folder / "run" / "run.json").unlink()
    assert_explained(spectrum("eval", "run", *DATA, "-q"), "no finished run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": "spectrum-ft/evaluation@1"}', "source"),
        ('{"schema": "spectrum-ft/evaluation@9"}', "newer version"),
        ('{"schema": "spectrum-ft/evaluation@1"', "eval.json"),
        ('{"schema": "spectrum-ft/other@1", "x": "spectrum-ft/run@1"}', "not a spectrum-ft/scan"),
    ],
)
def test_a_damaged_record_is_explained(
    folder: Path, spectrum: Spectrum, text: str, message: str
) -> None:
    (folder / "eval.json").write_text(text)
    assert_explained(spectrum("report", "eval.json"), message)


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="needs lm_eval not to be installed")
def test_the_harness_is_asked_for_with_the_command_that_installs_it(
    folder: Path, spectrum: Spectrum
) -> None:
    done = spectrum("eval", "model", *DATA, "--tasks", "hellaswag", "-q")
    assert_explained(done, "lm-evaluation-harness is not installed")
    assert "pip install 'lm-eval" in done.stderr


def test_a_terminal_gets_a_bar_that_goes_away(
    folder: Path, spectrum: Spectrum, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # what rich takes a stream for a terminal by
    done = spectrum("eval", "model", *DATA, "--metric", "loss", "-o", "eval.json")
    assert done.returncode == 0, done.stderr
    assert "5/5" in done.stderr
    assert "\x1b[?25h" in done.stderr  # the cursor is back
