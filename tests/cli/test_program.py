"""The program as a whole: help, configuration, exit codes, the demo and the cache."""

import json
from pathlib import Path

import click
import pytest
import yaml

from making import write_llama
from program import assert_explained, run_spectrum
from spectrum_ft_cli.main import COMMANDS, cli


def all_commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", c) for inner, c in command.commands.items()]
    return found


COMMAND_LIST = all_commands()


@pytest.mark.parametrize(("name", "command"), COMMAND_LIST, ids=[name for name, _ in COMMAND_LIST])
def test_every_command_has_help_with_one_example(name: str, command: click.Command) -> None:
    done = run_spectrum(*name.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.count("Example:") == 1
    assert f"spectrum {name}" in done.stdout.split("Example:")[1]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"


def test_the_list_of_commands_says_what_each_commands_own_help_says() -> None:
    for name, line in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.help
        assert command.help.splitlines()[0] == line


def test_every_command_is_told_in_the_readme() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    for name in COMMANDS:
        assert f"spectrum {name}" in readme


def test_a_misspelt_command_or_option_is_answered_with_the_nearest() -> None:
    done = run_spectrum("scna", "model")
    assert done.returncode == 2
    assert "Did you mean scan?" in done.stderr
    done = run_spectrum("scan", "model", "--kind", "x")
    assert done.returncode == 2
    assert "--kinds" in done.stderr


def test_options_come_from_a_file_and_the_command_line_wins(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=6)
    config = tmp_path / "options.yaml"
    config.write_text("kinds: ['mlp.*']\nworkers: 1\nno-cache: true\n")
    arguments = ("scan", tmp_path / "model", "--config", config)
    done = run_spectrum(*arguments)
    assert "Scanned 18 matrices." in done.stderr
    done = run_spectrum(*arguments, "--kinds", "mlp.up_proj")
    assert "Scanned 6 matrices." in done.stderr
    shown = yaml.safe_load(run_spectrum(*arguments, "--show-config").stdout)
    assert shown["kinds"] == ["mlp.*"]
    assert shown["workers"] == 1
    assert shown["no-cache"] is True
    assert shown["score"] == "snr"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("wokers: 1\n", "unknown option 'wokers'"),
        ("- a\n", "not a table of options"),
        ("workers: 1\nworkers: 2\n", "appears twice"),
        ("a: *b\n", "alias"),
    ],
)
def test_a_broken_configuration_is_refused(tmp_path: Path, content: str, message: str) -> None:
    config = tmp_path / "options.yaml"
    config.write_text(content)
    assert_explained(run_spectrum("scan", "model", "--config", config), message)


def test_a_wrong_value_in_a_configuration_is_a_usage_error(tmp_path: Path) -> None:
    config = tmp_path / "options.yaml"
    config.write_text("workers: many\n")
    done = run_spectrum("scan", "model", "--config", config)
    assert done.returncode == 2
    assert "many" in done.stderr


def test_the_cache_is_shown_counted_and_pruned(tmp_path: Path, own_cache: Path) -> None:
    assert run_spectrum("cache", "size").stdout == "0 spectra, 0 bytes\n"
    write_llama(tmp_path / "model", layers=4)
    run_spectrum("scan", tmp_path / "model", "-q")
    assert run_spectrum("cache", "path").stdout == f"{own_cache / 'spectra.sqlite'}\n"
    assert run_spectrum("cache", "size").stdout.split()[0] in {"28", "29", "30"}
    assert run_spectrum("cache", "prune").stderr == "Dropped 0 spectra.\n"
    assert "Dropped 2" in run_spectrum("cache", "prune", "--older-than", "0").stderr
    assert run_spectrum("cache", "size").stdout.startswith("0 spectra")


def test_a_report_is_shown_again_as_the_scan_showed_it(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=6)
    scanned = run_spectrum("scan", "model", "-o", "scan.json", cwd=tmp_path)
    shown = run_spectrum("report", "scan.json", cwd=tmp_path)
    assert shown.stdout == scanned.stdout
    piped = (tmp_path / "scan.json").read_bytes()
    assert run_spectrum("report", "-", stdin=piped).stdout == scanned.stdout


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_scans_plans_trains_merges_and_says_what_next(
    tmp_path: Path, smollm2: Path, model_cache: Path
) -> None:
    offline = {
        "SPECTRUM_FT_CACHE": str(model_cache),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
    }
    done = run_spectrum("demo", "-o", "out", cwd=tmp_path, env=offline, timeout=850.0)
    assert done.returncode == 0, done.stderr
    made = {"plan.yaml", "scan.json", "train.jsonl", "test.jsonl", "run", "merged", "comparison"}
    made |= {f"{record}.html" for record in ("scan", "plan", "run", "comparison")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == made
    assert "This comparison is too small to decide anything" in done.stdout
    record = json.loads((tmp_path / "out" / "run" / "run.json").read_text())
    assert record["eval_loss"] < 0.5 < record["first_loss"]
    assert (tmp_path / "out" / "merged" / "model.safetensors").stat().st_size > 2.6e8
    assert "28.3 M of 134.5 M weights = 21.0 % of the model" in done.stdout
    assert "4-bit rounding noise" in done.stderr
    assert "spectrum plan out/scan.json --top 50% -o out/plan-50.yaml" in done.stderr
    again = run_spectrum("demo", "-o", "out", cwd=tmp_path, env=offline)
    assert_explained(again, "already exists")
    next_step = ("plan", "out/scan.json", "--top", "50%", "-o", "out/plan-50.yaml")
    assert run_spectrum(*next_step, cwd=tmp_path).returncode == 0
