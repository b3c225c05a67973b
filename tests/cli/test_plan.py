"""`spectrum plan` as a user runs it."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from making import write_llama
from program import assert_explained, run_spectrum
from spectrum_ft.planning.plan_files import parse_plan
from spectrum_ft_cli.values import Count, Size
from train_program import Spectrum

PUBLISHED = json.dumps(
    {f"model.layers.{i}.mlp.up_proj": {"snr": float(i), "type": "mlp.up_proj"} for i in range(8)}
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its scan and a result file of the published script."""
    home = tmp_path_factory.mktemp("made")
    write_llama(home / "model", layers=6)
    env = {"SPECTRUM_FT_CACHE": str(home / "cache")}
    done = run_spectrum("scan", "model", "-o", "scan.json", "-q", cwd=home, env=env)
    assert done.returncode == 0
    (home / "published.json").write_text(PUBLISHED)
    return home


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder for one test, as the current folder."""
    copy = shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(copy)
    return copy


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


def test_a_model_is_scanned_first(folder: Path, spectrum: Spectrum) -> None:
    done = spectrum("plan", "model", "--json")
    from_file = spectrum("plan", "scan.json", "--json")
    assert json.loads(done.stdout)["train"] == json.loads(from_file.stdout)["train"]


def test_results_of_the_published_script_are_read(folder: Path, spectrum: Spectrum) -> None:
    arguments = ("plan", "published.json", "--preset", "reference", "--export", "list")
    done = spectrum(*arguments, "--exclude", "lm_head.*")
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
    assert patterns[0].startswith("^model.layers.")


@pytest.mark.parametrize("share", ["0", "0%", "-5%", "101%", "25", "nan", "1e400", "half", ""])
def test_a_share_that_makes_no_sense_is_a_usage_error(
    folder: Path, spectrum: Spectrum, share: str
) -> None:
    done = spectrum("plan", "scan.json", f"--top={share}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "--top" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("one", "other"), [("25%", "0.25"), ("100%", "1"), ("2.5 %", ".025")])
def test_a_share_may_be_a_percentage_or_a_fraction(
    folder: Path, spectrum: Spectrum, one: str, other: str
) -> None:
    plans = [
        spectrum("plan", "scan.json", "--top", share, "--export", "list").stdout
        for share in (one, other)
    ]
    assert plans[0] == plans[1] != ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\r\n", "empty"),
        ("not json", "neither a record nor a result file"),
        ('{"schema": "spectrum-ft/scan@2"}', "newer version"),
        ('{"schema": "spectrum-ft/plan@1"}', "not a spectrum-ft/scan record"),
        ('{"schema": "spectrum-ft/scan@1"}', "model"),
    ],
)
def test_a_file_that_is_no_scan_is_refused(
    folder: Path, spectrum: Spectrum, content: str, message: str
) -> None:
    (folder / "broken.json").write_text(content)
    assert_explained(spectrum("plan", "broken.json"), message)


def test_a_scan_that_is_not_there_is_refused(folder: Path) -> None:
    assert_explained(run_spectrum("plan", "absent.json", cwd=folder), "No such file")


def test_two_formats_at_once_are_a_usage_error(folder: Path) -> None:
    done = run_spectrum("plan", "scan.json", "--json", "--export", "list", cwd=folder)
    assert done.returncode == 2


def test_the_rest_may_be_kept_in_fewer_bits(folder: Path, spectrum: Spectrum) -> None:
    table = json.loads(spectrum("plan", "scan.json", "--base", "nf4", "--json").stdout)
    assert table["base"] == "nf4"
    preset = ("plan", "scan.json", "--preset", "spectrum-nf4", "--json")
    again = json.loads(spectrum(*preset).stdout)
    assert again["base"] == "nf4"
    assert again["train"] == table["train"]


def shown(spectrum: Spectrum, *arguments: str) -> str:
    done = spectrum("plan", "scan.json", *arguments)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def test_a_plan_says_what_memory_it_takes(folder: Path, spectrum: Spectrum) -> None:
    text = shown(spectrum)
    assert "MiB on a GPU, for 4 × 1,024 tokens" in text
    assert "fullest in the backward pass: weights" in text
    other = shown(spectrum, "--device", "cpu", "--batch-size", "1", "--max-length", "8")
    assert "on a CPU, beyond the libraries' own, for 1 × 8 tokens" in other


def test_presets_with_adapters_are_made_and_written(folder: Path, spectrum: Spectrum) -> None:
    text = shown(spectrum, "--preset", "qlora", "--lora-r", "4", "-o", "plan.yaml")
    assert "trains adapters only" in text
    assert "on 42 matrices, rank 4, alpha 32" in text
    plan = parse_plan((folder / "plan.yaml").read_bytes(), "plan.yaml")
    assert plan.train == ()
    assert plan.lora is not None
    assert (len(plan.lora.matrices), plan.lora.r, plan.base) == (42, 4, "nf4")
    assert plan.counts is not None
    # 6 layers of q and o 64 x 64, k and v 32 x 64, gate, up and down 160 x 64
    assert plan.counts.lora == 6 * 4 * (2 * 128 + 2 * 96 + 3 * 224)


@pytest.mark.parametrize("preset", ["lora", "qlora-paper", "spectrum-qlora", "hybrid"])
def test_every_preset_with_adapters_can_be_had(
    folder: Path, spectrum: Spectrum, preset: str
) -> None:
    table = json.loads(spectrum("plan", "scan.json", "--preset", preset, "--json").stdout)
    assert table["lora"]["matrices"]
    assert table["policy"]["name"] == preset


def test_a_budget_of_weights_decides_the_share(folder: Path, spectrum: Spectrum) -> None:
    done = spectrum("plan", "scan.json", "--params", "60k", "--json")
    table = json.loads(done.stdout)
    assert 0 < table["counts"]["train"] <= 60_000
    assert table["policy"]["params"] == 60_000
    share = f"{100 * table['policy']['share']:g}%"
    again = spectrum("plan", "scan.json", "--top", share, "--json")
    assert json.loads(again.stdout)["train"] == table["train"]
    text = shown(spectrum, "--params", "60_000")
    assert "the most that 60,000 weights allow" in text


def test_a_budget_of_memory_decides_the_share(folder: Path, spectrum: Spectrum) -> None:
    options = ("--batch-size", "1", "--max-length", "16", "--json")
    tables = [
        json.loads(spectrum("plan", "scan.json", "--vram", size, *options).stdout)
        for size in ("2MiB", "24GB")
    ]
    assert tables[0]["policy"]["vram_bytes"] == 2 * 2**20
    assert 0 < tables[0]["policy"]["share"] < tables[1]["policy"]["share"] == 1.0
    assert tables[1]["policy"]["vram_bytes"] == 24 * 10**9


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("24GiB", 24 * 2**30),
        ("24gb", 24 * 10**9),
        ("1.5 TiB", 3 * 2**39),
        ("512KiB", 2**19),
        ("25769803776", 24 * 2**30),  # bytes, as --show-config prints them
    ],
)
def test_a_size_has_a_unit_or_is_bytes(text: str, value: int) -> None:
    assert Size().convert(text, None, None) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("50M", 50 * 10**6), ("1.5B", 15 * 10**8), ("200k", 200_000), ("1_000", 1000), ("7", 7)],
)
def test_a_count_may_have_a_letter(text: str, value: int) -> None:
    assert Count().convert(text, None, None) == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--params", "1"), "at least"),
        (("--vram", "1KB"), "training takes at least"),
        (("--preset", "qlora", "--params", "1M"), "takes no share"),
        (("--preset", "qlora", "--top", "10%"), "ranks nothing"),
        (("--preset", "lora", "--lora-r", "0"), "rank of 0"),
        (("--preset", "lora", "--lora-r", "1000"), "no smaller than the matrices"),
        (("--preset", "lora", "--lora-alpha", "nan"), "alpha of nan"),
        (("--lora-dropout", "0.1"), "nothing gets one"),
        (("--preset", "hybrid", "--export", "axolotl"), "knows no adapters"),
        (("--preset", "full", "--lora", "rest"), "leaves no matrix"),
    ],
)
def test_what_cannot_be_had_is_explained(
    folder: Path, spectrum: Spectrum, arguments: tuple[str, ...], message: str
) -> None:
    assert_explained(spectrum("plan", "scan.json", *arguments), message)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--top", "25%", "--params", "1M"),
        ("--vram", "24GiB", "--params", "1M"),
        ("--vram", "24"),
        ("--vram", "0GiB"),
        ("--vram", "-1GiB"),
        ("--vram", "nan"),
        ("--params", "0"),
        ("--params", "many"),
        ("--params", "9" * 50),
        ("--batch-size", "0"),
        ("--max-length", "1"),
        ("--optim", "adaam"),
        ("--lora", "all"),
    ],
)
def test_a_budget_that_makes_no_sense_is_a_usage_error(
    folder: Path, spectrum: Spectrum, arguments: tuple[str, ...]
) -> None:
    done = spectrum("plan", "scan.json", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert arguments[0] in done.stderr or arguments[2] in done.stderr
    assert "Traceback" not in done.stderr


def test_an_imported_result_has_no_forecast_and_no_budget(folder: Path, spectrum: Spectrum) -> None:
    done = spectrum("plan", "published.json")
    assert done.returncode == 0
    assert "memory" not in done.stdout
    for budget in (("--vram", "24GiB"), ("--params", "1M")):
        refused = spectrum("plan", "published.json", *budget)
        assert_explained(refused, "not" if budget[0] == "--vram" else "does not say")
