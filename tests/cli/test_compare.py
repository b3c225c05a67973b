"""`spectrum compare`, as a user runs it: real processes on a tiny model."""

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chat_data import write_jsonl
from program import PROGRAM, run_spectrum
from spectrum_ft.comparing.comparison_folder import read_trial
from spectrum_ft.comparing.contrasts import contrasts
from spectrum_ft.comparing.tables import ArmTrials
from spectrum_ft.records.comparisons import Asked
from tiny_models import write_messages, write_tiny_llama
from train_program import Spectrum

SHARED = ("--data", "train.jsonl", "--eval", "test.jsonl", "--batch-size", "2", "--steps", "3")
FAST = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def write_place(folder: Path) -> None:
    """Write a model, training and test data."""
    write_tiny_llama(folder / "model")
    write_messages(folder / "train.jsonl", 20)
    write_messages(folder / "test.jsonl", 6)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, training and test data, where commands are run."""
    write_place(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in FAST.items():
        monkeypatch.setenv(name, value)
    return tmp_path


Compare = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def compare(spectrum: Spectrum, place: Path) -> Compare:
    """The command on that model and data, in this process; its trials have their own."""
    return lambda *arguments: spectrum("compare", "model", *SHARED, "-o", "comparison", *arguments)


def record(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((folder / "comparison" / "comparison.json").read_text())
    return table


def without_times(table: dict[str, Any]) -> Any:
    """The record without what depends on when and how fast it was made."""
    timed = {"seconds", "tokens_per_second", "peak_memory_bytes", "dominated", "command"}
    arms = [
        {
            **{k: v for k, v in arm.items() if k not in timed},
            "curves": [[(p["step"], p["loss"]) for p in curve] for curve in arm["curves"]],
        }
        for arm in table["arms"]
    ]
    sentences = [s for s in table["verdicts"] if "times the" not in s]
    return {"arms": arms, "contrasts": table["contrasts"], "verdicts": sentences}


# Columns of other names, so that every part has to be told of them.
COLUMNS = ("--column", "q=prompt", "--column", "a=completion")
RATES = ("--lr", "spectrum-25=1e-3,1e-2")
FIVE = ("--arms", "base,few-shot:2,spectrum-25,qlora,random-25", "--seeds", "1", *RATES)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder as `place` is, with a comparison of five arms; and what was said on its end."""
    place = tmp_path_factory.mktemp("five")
    write_place(place)
    for name in ("train", "test"):
        rows = [json.loads(line) for line in (place / f"{name}.jsonl").read_text().splitlines()]
        turns = [row["messages"] for row in rows]
        write_jsonl(
            place / f"{name}.jsonl", [{"q": t[-2]["content"], "a": t[-1]["content"]} for t in turns]
        )
    own = {**FAST, "SPECTRUM_FT_CACHE": str(place / "cache")}
    arguments = ("compare", "model", *SHARED, *COLUMNS, *FIVE, "-o", "comparison")
    done = run_spectrum(*arguments, cwd=place, env=own)
    assert done.returncode == 0, done.stderr
    return place, done.stdout


@pytest.mark.slow
def test_a_comparison_ends_in_a_table_a_verdict_and_a_record(
    five: tuple[Path, str], spectrum: Spectrum, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, said = five
    monkeypatch.chdir(place)
    for name in ("base", "few-shot:2", "spectrum-25", "qlora", "random-25"):
        assert name in said
    assert "too small to decide anything: 1 seed, 6 questions, 3 steps" in " ".join(said.split())
    table = record(place)
    arms = {arm["name"]: arm for arm in table["arms"]}
    tried = {rate["lr"]: rate["loss"] for rate in arms["spectrum-25"]["rates"]}
    assert arms["spectrum-25"]["lr"] == min(tried, key=lambda lr: tried[lr])
    assert arms["base"]["seconds"] is None
    assert len(arms["base"]["seeds"]) == 1
    assert arms["spectrum-25"]["trained"] == arms["random-25"]["trained"]
    assert {c["asked"]["against"] for c in table["contrasts"]} == {"qlora", "random-25"}
    # No arm trained on what its rate was chosen by.
    parts = [
        (place / "comparison" / "data" / name).read_text().splitlines()
        for name in ("train.jsonl", "validation.jsonl")
    ]
    assert not set(parts[0]) & set(parts[1])
    trials = [json.loads(file.read_text()) for file in place.glob("comparison/trials/*/trial.json")]
    assert {t["run"]["data"]["rows"] for t in trials if t["run"]} == {len(parts[0])}
    assert not list(place.glob("comparison/trials/*/run"))  # weights are not kept
    again = spectrum("report", "comparison")
    assert again.returncode == 0, again.stderr
    assert again.stdout == said


@pytest.mark.slow
def test_columns_of_other_names_are_read_in_every_part(five: tuple[Path, str]) -> None:
    place, _ = five
    trials = [json.loads(file.read_text()) for file in place.glob("comparison/trials/*/trial.json")]
    # The rates on the held-out part, then the five arms on the test data.
    assert sorted(trial["purpose"] for trial in trials) == ["rate"] * 2 + ["test"] * 5
    shapes = [t["evaluation"]["data"]["shape"] for t in trials if t["evaluation"]]
    runs = [t["run"] for t in trials if t["run"]]
    shapes += [run[data]["shape"] for run in runs for data in ("data", "eval_data") if run[data]]
    assert {said.split(",")[0] for said in shapes} == {"plain text in `prompt` and `completion`"}


@pytest.mark.slow
def test_more_arms_and_seeds_make_only_the_new_trials(
    five: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spectrum: Spectrum
) -> None:
    place = shutil.copytree(five[0], tmp_path / "five")
    monkeypatch.chdir(place)
    for name, value in FAST.items():
        monkeypatch.setenv(name, value)
    again = ("compare", "model", *SHARED, *COLUMNS, *RATES, "-o", "comparison")
    before = {f: f.stat().st_mtime_ns for f in place.glob("comparison/trials/*/trial.json")}
    done = spectrum(*again, "--arms", "base,spectrum-25,random-25:3", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    after = {f: f.stat().st_mtime_ns for f in place.glob("comparison/trials/*/trial.json")}
    assert len(before) == 7
    assert len(after) == 10
    assert {f: after[f] for f in before} == before
    other = spectrum(*again, "--arms", "base,spectrum-25", "--steps", "4")
    assert other.returncode == 1
    assert "max_steps was 3, is 4" in other.stderr
    assert "--force" in other.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_three_times_at_random_it_ends_with_the_same_table(
    place: Path, compare: Compare
) -> None:
    arms = ("--arms", "few-shot:2,spectrum-25,hybrid-25", "--seeds", "1", "--save-every", "1")
    whole = compare(*arms)
    assert whole.returncode == 0, whole.stderr
    undisturbed = without_times(record(place))
    (place / "comparison").rename(place / "undisturbed")
    chance = random.Random(20261124)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen(
            [PROGRAM, "compare", "model", *SHARED, *arms, "-o", "comparison"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(6.0, 14.0))
        process.send_signal(number)
        process.wait()
    done = compare(*arms)
    assert done.returncode == 0, done.stderr
    assert without_times(record(place)) == undisturbed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--arms", "base,sprectrum-25"), "did you mean spectrum-25?"),
        (("--arms", "qlora,qlora"), "comes twice"),
        (("--arms", "base", "--lr", "lora=1e-4"), "--lr lora: no such arm"),
        (("--arms", "base,qlora", "--lr", "base=1e-4"), "arms that train: qlora"),
        (("--arms", "qlora", "--lr", "qlora=fast"), "is not ARM=RATE"),
        (("--arms", "qlora", "--lr", "qlora=0"), "not above 0"),
        (("--arms", "qlora", "--lr", "qlora=1e-4", "--lr", "qlora=2e-4"), "appears twice"),
        (("--arms", "base", "--metric", "exact-match,choice"), "give one of"),
        (("--arms", "qlora", "--require-not-worse"), "asks nothing"),
        (("--arms", "qlora", "--minutes", "1"), "both set the length"),
        (("--arms", "base", "--against", "sgd"), "--against sgd: no such arm"),
        (("--arms", "spectrum-25", "--match", "time"), "give memory or params"),
        (("--arms", "few-shot:50"), "too few to draw 50"),
        (("--arms", "base", "--metric", "bleu"), "metrics: loss, exact-match, choice"),
        (("--arms", "base", "--answer-pattern", "#### ([0-9]+)"), "test.jsonl, line 1"),
        (("--arms", "base", "--general", "none.txt"), "cannot be read"),
        (("--arms", "missing.yaml"), "cannot be read"),
        (("--arms", "lora", "--max-length", "2"), "examples have nothing to learn"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(
    compare: Compare, arguments: tuple[str, ...], said: str
) -> None:
    done = compare(*arguments)
    assert done.returncode in (1, 2), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("comparison").exists()


def test_a_dry_run_tells_what_each_arm_would_do_and_writes_nothing(compare: Compare) -> None:
    done = compare("--arms", "base,hybrid-25,qlora", "--lr", "qlora=1e-4,2e-4", "--dry-run")
    assert done.returncode == 0, done.stderr
    base, hybrid, qlora = done.stdout.splitlines()
    assert base.split() == ["base", "trains", "nothing"]
    assert "rest in nf4" in hybrid
    assert "lr 1.00e-04, 2.00e-04" in qlora
    assert not Path("comparison").exists()


WORDS = {"card": "fox", "payment": "dog", "lost": "the", "system": "quick"}


def labelled(count: int, seed: int) -> list[tuple[str, str]]:
    """Messages with a telling word in each, and what it stands for."""
    chance = random.Random(seed)
    words = [chance.choice(list(WORDS)) for _ in range(count)]
    return [(f"{chance.choice('abcdefgh')} {w} {chance.random():.3f}:", WORDS[w]) for w in words]


def write_labelled(path: Path, rows: list[tuple[str, str]]) -> None:
    write_jsonl(path, [{"prompt": asked, "completion": f" {answer}"} for asked, answer in rows])


@pytest.mark.slow
def test_an_arm_whose_labels_are_shuffled_loses_significantly(
    place: Path, spectrum: Spectrum
) -> None:
    rows = labelled(200, seed=1)
    answers = [answer for _, answer in rows]
    random.Random(3).shuffle(answers)
    shuffled = [(asked, answer) for (asked, _), answer in zip(rows, answers, strict=True)]
    write_labelled(place / "true.jsonl", rows)
    write_labelled(place / "shuffled.jsonl", shuffled)
    write_labelled(place / "test.jsonl", labelled(120, seed=2))
    arms = {}
    for name in ("true", "shuffled"):
        done = spectrum(
            *("compare", "model", "--data", f"{name}.jsonl", "--eval", "test.jsonl"),
            *("--arms", "full", "--lr", "3e-3", "--steps", "60", "--batch-size", "8", "-o", name),
        )
        assert done.returncode == 0, done.stderr
        trials = [read_trial(file) for file in sorted(place.glob(f"{name}/trials/*/trial.json"))]
        arms[name] = ArmTrials(name=name, trials=tuple(trials))
    asked = Asked(question="Is shuffled better than true?", arm="shuffled", against="true")
    found = contrasts(arms, [asked])
    assert [(one.metric, one.seeds, one.finding) for one in found] == [
        ("accuracy", 3, "worse"),
        ("loss", 3, "worse"),
    ]
