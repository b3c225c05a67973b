"""Jobs: what decides a trial's outcome is in its key, and nothing else is."""

from dataclasses import replace
from pathlib import Path

import pytest

from spectrum_ft.comparing.comparison_folder import CompareStart, open_comparison
from spectrum_ft.comparing.jobs import Job, with_key
from spectrum_ft.errors import OutputError
from spectrum_ft.records.comparisons import CompareError, CompareSettings
from spectrum_ft.records.evaluations import EvalSettings
from spectrum_ft.records.plans import Plan, PlanModel, PlanPolicy
from spectrum_ft.records.training import TrainSettings


def job() -> Job:
    return Job(
        source="./model",
        arm="spectrum-25",
        purpose="test",
        seed=1,
        lr=1e-4,
        plan=Plan(
            model=PlanModel(source="./model", fingerprint=None),
            train=("a.weight",),
            policy=PlanPolicy(name="spectrum", share=0.25, score="snr"),
        ),
        training=TrainSettings(data="train.jsonl", lr=1e-4, max_steps=10),
        evaluation=EvalSettings(data="test.jsonl"),
        command="spectrum compare",
    )


def key(made: Job, held_equal: str = "x") -> str:
    return with_key(made, held_equal).key


def test_names_and_places_do_not_change_a_key() -> None:
    same = job()
    assert same.training is not None
    assert same.evaluation is not None
    moved = replace(
        same,
        source="/elsewhere/model",
        arm="mine",
        command="other",
        training=replace(same.training, data="/elsewhere/train.jsonl", save_every=5),
        evaluation=replace(same.evaluation, data="/elsewhere/test.jsonl"),
    )
    assert key(moved) == key(same)


def test_whatever_changes_a_number_changes_the_key() -> None:
    same = job()
    assert same.training is not None
    assert same.evaluation is not None
    assert same.plan is not None
    others = [
        replace(same, seed=2),
        replace(same, lr=2e-4),
        replace(same, purpose="rate"),
        replace(same, training=replace(same.training, max_steps=11)),
        replace(same, training=replace(same.training, seed=5)),
        replace(same, evaluation=replace(same.evaluation, limit=7)),
        replace(same, plan=replace(same.plan, train=("b.weight",))),
        replace(same, plan=replace(same.plan, base="nf4")),
        replace(same, plan=None, training=None),
    ]
    assert len({key(made) for made in [same, *others]} | {key(same, "y")}) == len(others) + 2


def test_a_trial_folder_is_named_for_people_and_safe_whatever_the_arm_is_called() -> None:
    made = with_key(replace(job(), arm="../../spectrum:snr_mp\n"), "x")
    assert made.folder_name.startswith(".._.._spectrum_snr_mp_-test-1-")
    assert "/" not in made.folder_name


def start(**changed: object) -> CompareStart:
    settings = CompareSettings(
        training=TrainSettings(data="train.jsonl", max_steps=10),
        evaluation=EvalSettings(data="test.jsonl"),
    )
    begun = CompareStart(
        model_digest="m",
        data_digest="d",
        eval_digest="e",
        general_digest=None,
        validation_share=None,
        settings=settings,
    )
    return replace(begun, **changed)  # type: ignore[arg-type]  # by the caller


def test_a_comparison_goes_on_with_more_seeds_and_refuses_other_steps(tmp_path: Path) -> None:
    folder = tmp_path / "comparison"
    with open_comparison(folder, start(), force=False):
        pass
    more_seeds = replace(start().settings, seeds=(0, 1, 2, 3, 4))
    with open_comparison(folder, start(settings=more_seeds), force=False) as opened:
        assert opened.start.settings.seeds == (0, 1, 2, 3, 4)
    other = replace(more_seeds, training=replace(more_seeds.training, max_steps=20))
    with (
        pytest.raises(CompareError, match="max_steps was 10, is 20"),
        open_comparison(folder, start(settings=other), force=False),
    ):
        pass
    with (
        pytest.raises(CompareError, match="model_digest was m, is n"),
        open_comparison(folder, start(model_digest="n"), force=False),
    ):
        pass
    (folder / "trials").mkdir()
    with open_comparison(folder, start(settings=other), force=True):
        assert not (folder / "trials").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("my work")
    for force in (False, True):
        with (
            pytest.raises(OutputError, match="holds something else"),
            open_comparison(tmp_path, start(), force=force),
        ):
            pass
    assert (tmp_path / "thesis.tex").read_text() == "my work"


@pytest.mark.parametrize("name", ["data", "trials", "comparison.json", "lock"])
@pytest.mark.parametrize("force", [False, True])
def test_files_that_are_named_like_ours_are_somebody_elses_without_a_comparison(
    tmp_path: Path, name: str, force: bool
) -> None:
    theirs = tmp_path / name
    if "." in name or name == "lock":
        theirs.write_bytes(b"\xff my own notes")
    else:
        theirs.mkdir()
        (theirs / "train.jsonl").write_text("{}")
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file() and f.name != "lock"}
    with pytest.raises(OutputError), open_comparison(tmp_path, start(), force=force):
        pass
    after = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file() and f.name != "lock"}
    assert after == before
    if name == "lock":
        assert theirs.read_bytes() == b"\xff my own notes"


def test_what_a_killed_write_left_behind_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".spectrum-ft-abc").write_text("half")
    with open_comparison(tmp_path, start(), force=False):
        assert not (tmp_path / ".spectrum-ft-abc").exists()


def test_notes_beside_a_comparison_are_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "comparison"
    with open_comparison(folder, start(), force=False):
        pass
    (folder / "report.md").write_text("as I see it")
    with open_comparison(folder, start(), force=True):
        assert (folder / "report.md").read_text() == "as I see it"


def test_sittings_that_ask_otherwise_are_kept_in_mind(tmp_path: Path) -> None:
    folder = tmp_path / "comparison"
    for sitting in ("3 seeds", "3 seeds", "5 seeds"):
        with open_comparison(folder, start(sittings=(sitting,)), force=False) as opened:
            pass
    assert opened.start.sittings == ("3 seeds", "5 seeds")


def test_another_tokenizer_is_another_comparison_unless_it_was_not_kept(tmp_path: Path) -> None:
    folder = tmp_path / "comparison"
    with open_comparison(folder, start(), force=False):
        pass
    with open_comparison(folder, start(tokenizer_digest="t"), force=False):
        pass
    with (
        pytest.raises(CompareError, match="tokenizer_digest was t, is u"),
        open_comparison(folder, start(tokenizer_digest="u"), force=False),
    ):
        pass


def test_two_comparisons_do_not_work_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "comparison"
    with (
        open_comparison(folder, start(), force=False),
        pytest.raises(OutputError, match="another comparison is at work there"),
        open_comparison(folder, start(), force=False),
    ):
        pass
