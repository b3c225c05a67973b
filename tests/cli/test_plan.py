"""`spectrum plan` as a user runs it."""

import json
from pathlib import Path

import pytest
import yaml

from making import write_llama
from program import assert_explained, run_spectrum
from spectrum_ft.planning.plan_files import parse_plan

PUBLISHED = json.dumps(
    {f"model.layers.{i}.mlp.up_proj": {"snr": float(i), "type": "mlp.up_proj"} for i in range(8)}
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, its scan and a result file of the published script."""
    write_llama(tmp_path / "model", layers=6)
    done = run_spectrum("scan", "model", "-o", "scan.json", "-q", cwd=tmp_path)
    assert done.returncode == 0
    (tmp_path / "published.json").write_text(PUBLISHED)
    return tmp_path


def test_a_plan_is_shown_and_written(folder: Path) -> None:
    done = run_spectrum("plan", "scan.json", "--top", "50%", "-o", "plan.yaml", cwd=folder)
    assert done.returncode == 0
    assert "spectrum, 50 % of each kind by snr" in done.stdout
    assert done.stderr == "Wrote plan.yaml.\n"
    plan = parse_plan((folder / "plan.yaml").read_bytes(), "plan.yaml")
    assert len(plan.train) == 21
    scan = json.loads((folder / "scan.json").read_text())
    assert plan.model.fingerprint == scan["model"]["fingerprint"]
    assert plan.command == "spectrum plan scan.json --top 50% -o plan.yaml"


def test_without_an_output_nothing_is_written_and_that_is_said(folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = run_spectrum("plan", "scan.json", cwd=folder)
    assert done.returncode == 0
    assert "Nothing is written without -o" in done.stderr
    assert sorted(folder.iterdir()) == before


def test_a_scan_comes_through_a_pipe(folder: Path) -> None:
    scan = run_spectrum("scan", "model", "--json", cwd=folder).stdout
    done = run_spectrum("plan", "-", "--json", stdin=scan.encode(), cwd=folder)
    assert json.loads(done.stdout)["schema"] == "spectrum-ft/plan@1"


def test_a_model_is_scanned_first(folder: Path) -> None:
    done = run_spectrum("plan", "model", "--json", cwd=folder)
    from_file = run_spectrum("plan", "scan.json", "--json", cwd=folder)
    assert json.loads(done.stdout)["train"] == json.loads(from_file.stdout)["train"]


def test_results_of_the_published_script_are_read(folder: Path) -> None:
    arguments = ("plan", "published.json", "--preset", "reference", "--export", "list")
    done = run_spectrum(*arguments, "--exclude", "lm_head.*", cwd=folder)
    assert done.stdout.splitlines() == [
        "model.embed_tokens.weight",
        "model.layers.7.mlp.up_proj.weight",
        "model.layers.6.mlp.up_proj.weight",
    ]


def test_exports_go_to_a_file_or_to_stdout(folder: Path) -> None:
    shown = run_spectrum("plan", "scan.json", "--export", "axolotl", cwd=folder)
    arguments = ("plan", "scan.json", "--export", "axolotl", "-o", "unfrozen.yaml")
    assert run_spectrum(*arguments, cwd=folder).stdout == ""
    assert (folder / "unfrozen.yaml").read_text() == shown.stdout
    patterns = yaml.safe_load(shown.stdout)["unfrozen_parameters"]
    assert len(patterns) == 14
    assert patterns[0].startswith(r"^model\.layers\.")


@pytest.mark.parametrize("share", ["0", "0%", "-5%", "101%", "25", "nan", "1e400", "half", ""])
def test_a_share_that_makes_no_sense_is_a_usage_error(folder: Path, share: str) -> None:
    done = run_spectrum("plan", "scan.json", f"--top={share}", cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "--top" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("one", "other"), [("25%", "0.25"), ("100%", "1"), ("2.5 %", ".025")])
def test_a_share_may_be_a_percentage_or_a_fraction(folder: Path, one: str, other: str) -> None:
    plans = [
        run_spectrum("plan", "scan.json", "--top", share, "--export", "list", cwd=folder).stdout
        for share in (one, other)
    ]
    assert plans[0] == plans[1] != ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\r\n", "empty"),
        ("not json", "not a result file"),
        ('{"schema": "spectrum-ft/scan@2"}', "newer version"),
        ('{"schema": "spectrum-ft/plan@1"}', "not a spectrum-ft/scan record"),
        ('{"schema": "spectrum-ft/scan@1"}', "model"),
    ],
)
def test_a_file_that_is_no_scan_is_refused(folder: Path, content: str, message: str) -> None:
    (folder / "broken.json").write_text(content)
    assert_explained(run_spectrum("plan", "broken.json", cwd=folder), message)


def test_a_scan_that_is_not_there_is_refused(folder: Path) -> None:
    assert_explained(run_spectrum("plan", "absent.json", cwd=folder), "No such file")


def test_two_formats_at_once_are_a_usage_error(folder: Path) -> None:
    done = run_spectrum("plan", "scan.json", "--json", "--export", "list", cwd=folder)
    assert done.returncode == 2


def test_the_rest_may_be_kept_in_fewer_bits(folder: Path) -> None:
    table = json.loads(
        run_spectrum("plan", "scan.json", "--base", "nf4", "--json", cwd=folder).stdout
    )
    assert table["base"] == "nf4"
    preset = ("plan", "scan.json", "--preset", "spectrum-nf4", "--json")
    again = json.loads(run_spectrum(*preset, cwd=folder).stdout)
    assert again["base"] == "nf4"
    assert again["train"] == table["train"]
