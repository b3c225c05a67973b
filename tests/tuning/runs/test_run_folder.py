"""A run's folder: begun, taken up, finished, or not ours to touch."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from made_runs import write_run
from spectrum_ft.errors import OutputError, RecordError, TrainError
from spectrum_ft.planning.plan_files import parse_plan
from spectrum_ft.records.training import RunStart, TrainRun, TrainSettings, TrainStep
from spectrum_ft.tuning.runs.run_folder import RunFolder, open_run, read_run
from tiny_models import plan_of

PLAN = plan_of("model.layers.1.mlp.down_proj.weight")


def start_of(run_id: str = "a" * 16, **settings: Any) -> RunStart:
    return RunStart(
        run_id=run_id,
        source="someone/tiny",
        model_digest="m" * 64,
        plan=PLAN,
        settings=TrainSettings(**{"data": "data.jsonl", "dtype": "float32", **settings}),
        data_digest="d" * 64,
        eval_digest=None,
        command="spectrum train someone/tiny",
    )


def begin(path: Path, start: RunStart | None = None) -> RunStart:
    """Begin a run in `path` and leave it unfinished."""
    start = start or start_of()
    with open_run(path, start, config="lr: 1\n", force=False) as folder:
        assert not folder.resuming
    return start


def finished(folder: Path) -> TrainRun:
    """The record of some finished run."""
    return read_run(write_run(folder / "made", folder / "model"))


def everything_in(path: Path) -> dict[str, bytes]:
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def test_a_new_run_writes_down_what_it_was_started_with(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    start = start_of()
    with open_run(path, start, config="lr: 1\n", force=False) as folder:
        assert folder == RunFolder(path=path, start=start, resuming=False)
        assert folder.checkpoints.parent == folder.result.parent == path
        assert parse_plan((path / "plan.yaml").read_bytes(), "plan.yaml") == PLAN
        assert (path / "config.yaml").read_text() == "lr: 1\n"


def test_an_unfinished_run_is_taken_up_under_its_first_id(tmp_path: Path) -> None:
    begin(tmp_path)
    again = replace(start_of("b" * 16), command="spectrum train again")
    with open_run(tmp_path, again, config="", force=False) as folder:
        assert folder.resuming
        assert folder.start == start_of()


def test_what_changes_no_weight_may_differ(tmp_path: Path) -> None:
    begin(tmp_path)
    start = start_of("b" * 16, keep=9, save_every=7, report_to=("tensorboard",))
    with open_run(tmp_path, start, config="", force=False) as folder:
        assert folder.resuming
        assert folder.start.settings == start.settings
        assert folder.start.run_id == "a" * 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"lr": 3e-5}}, "lr was 2e-05, is 3e-05"),
        ({"settings": {"seed": 1, "batch_size": 2}}, "batch_size was 4, is 2"),
        ({"settings": {"columns": {"a": "prompt"}}}, "columns differs"),
        ({"plan": plan_of("model.norm.weight")}, "plan differs"),
        ({"model_digest": "n" * 64}, "model_digest differs"),
        ({"data_digest": "e" * 64}, "data_digest differs"),
        ({"eval_digest": "e" * 64}, "eval_digest was None"),
    ],
)
def test_a_run_with_another_start_is_refused_with_what_differs(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    begin(tmp_path)
    before = everything_in(tmp_path)
    changed = dict(changes)
    start = replace(start_of(**changed.pop("settings", {})), **changed)
    with (
        pytest.raises(TrainError, match=message) as caught,
        open_run(tmp_path, start, config="other", force=False),
    ):
        pass
    assert caught.value.message.isprintable()
    after = everything_in(tmp_path)
    assert {k: v for k, v in after.items() if k != "lock"} == {
        k: v for k, v in before.items() if k != "lock"
    }


def test_a_finished_run_is_read_back_and_refused(tmp_path: Path) -> None:
    start = start_of()
    record, path = finished(tmp_path), tmp_path / "run"
    with open_run(path, start, config="", force=False) as folder:
        folder.finish(record)
    assert read_run(path) == record
    with (
        pytest.raises(OutputError, match="holds a finished run") as caught,
        open_run(path, start, config="", force=False),
    ):
        pass
    assert "--force" in str(caught.value.hint)


def test_force_deletes_an_earlier_run_whole(tmp_path: Path) -> None:
    path = tmp_path / "run"
    start = begin(path)
    for name in ("checkpoints/step-000001", "result"):
        (path / name).mkdir(parents=True)
        (path / name / "trained.safetensors").write_bytes(b"old")
    with open_run(path, start, config="", force=False) as folder:
        folder.add_metrics(TrainStep(step=1, epoch=0.1, loss=2.0))
        folder.finish(finished(tmp_path))
    with open_run(path, start_of("b" * 16, lr=1.0), config="new", force=True) as folder:
        assert not folder.resuming
        assert folder.start.run_id == "b" * 16
    assert sorted(everything_in(path)) == ["config.yaml", "lock", "plan.yaml", "start.json"]


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_with_anything_else_in_it_is_left_alone(force: bool, tmp_path: Path) -> None:
    path = tmp_path / "thesis"
    path.mkdir()
    (path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(OutputError, match=r"holds something else \(thesis.tex\)"),
        open_run(path, start_of(), config="", force=force),
    ):
        pass
    assert sorted(p.name for p in path.iterdir()) == ["thesis.tex"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "name",
    ["plan.yaml", "config.yaml", "checkpoints/model.pt", "result/thesis.tex", "metrics.jsonl"],
)
def test_a_file_that_only_shares_a_name_with_ours_is_not_lost(
    name: str, force: bool, tmp_path: Path
) -> None:
    # As where `-o .` is given in a folder that plan.yaml lies in, or where another program keeps
    # its own checkpoints.
    path = tmp_path / "work"
    (path / name).parent.mkdir(parents=True)
    (path / name).write_text("not written by a run")
    with suppress(OutputError), open_run(path, start_of(), config="", force=force):
        pass
    assert (path / name).read_text() == "not written by a run"


def test_a_run_that_force_deleted_only_half_of_can_be_started_over(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "checkpoints" / "step-000001").mkdir(parents=True)
    (tmp_path / "plan.yaml").unlink()
    with open_run(tmp_path, start_of("b" * 16), config="", force=True) as folder:
        assert not folder.resuming
    assert not (tmp_path / "checkpoints").exists()


def test_a_damaged_start_is_an_error_that_names_it(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "start.json").write_text('{"schema": "spectrum-ft/run-st')
    with (
        pytest.raises(RecordError, match=r"start.json"),
        open_run(tmp_path, start_of(), config="", force=False),
    ):
        pass


def test_a_folder_without_a_record_is_not_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        read_run(tmp_path)


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with (
        pytest.raises(OutputError),
        open_run(tmp_path / "run", start_of(), config="", force=False),
    ):
        pass


@pytest.mark.parametrize("kind", ["folder", "link", "dangling link"])
def test_a_strange_thing_in_the_locks_place_is_an_error(kind: str, tmp_path: Path) -> None:
    path, outside = tmp_path / "run", tmp_path / "outside"
    path.mkdir()
    if kind == "folder":
        (path / "lock").mkdir()
    else:
        (path / "lock").symlink_to(outside)
    if kind == "link":
        outside.write_text("precious")
    with (
        pytest.raises(OutputError),
        open_run(path, start_of(), config="", force=False),
    ):
        pass
    assert outside.exists() == (kind == "link")
    assert kind != "link" or outside.read_text() == "precious"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_a_folder_that_may_not_be_written_to_is_an_error() -> None:
    # Nobody can make files there, not even root.
    with (
        pytest.raises(OutputError, match="/proc"),
        open_run(Path("/proc"), start_of(), config="", force=False),
    ):
        pass


def test_two_processes_cannot_work_in_one_folder(tmp_path: Path) -> None:
    program = (
        "import fcntl, os, sys\n"
        "file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "file.write(str(os.getpid())); file.flush()\n"
        "print('locked', flush=True); sys.stdin.read()\n"
    )
    begin(tmp_path)
    before = everything_in(tmp_path)
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    for force in (False, True):
        with (
            pytest.raises(OutputError, match=f"another run is at work there .process {other.pid}"),
            open_run(tmp_path, start_of(), config="", force=force),
        ):
            pass
    other.communicate()
    after = everything_in(tmp_path)
    assert {**after, "lock": b""} == {**before, "lock": b""}
    # Once it is gone, its lock is too.
    with open_run(tmp_path, start_of(), config="", force=False) as folder:
        assert folder.resuming
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_one_process_cannot_open_a_run_twice(tmp_path: Path) -> None:
    with (
        open_run(tmp_path, start_of(), config="", force=False),
        pytest.raises(OutputError, match="another run"),
        open_run(tmp_path, start_of(), config="", force=False),
    ):
        pass


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_metrics_are_a_line_a_step(tmp_path: Path) -> None:
    with open_run(tmp_path, start_of(), config="", force=False) as folder:
        folder.add_metrics(TrainStep(step=1, epoch=0.5, loss=2.0))
        folder.add_metrics(TrainStep(step=1, epoch=0.5, eval_loss=1.5))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [2.0, None]
    assert [line["eval_loss"] for line in lines] == [None, 1.5]


@pytest.mark.parametrize(
    "torn", [b"", b'{"step": 4, "epo', b'{"step": 2, "epoch": 1.0}', b"{", b"\x00" * 40]
)
def test_metrics_are_rewound_to_where_the_run_goes_on(torn: bytes, tmp_path: Path) -> None:
    with open_run(tmp_path, start_of(), config="", force=False) as folder:
        for step in (1, 2, 3):
            folder.add_metrics(TrainStep(step=step, epoch=0.1 * step, loss=1.0))
            folder.add_metrics(TrainStep(step=step, epoch=0.1 * step, eval_loss=1.0))
        with (tmp_path / "metrics.jsonl").open("ab") as file:
            file.write(torn)
        folder.rewind_metrics(2)
        assert steps_of(tmp_path) == [1, 1, 2, 2]
        folder.add_metrics(TrainStep(step=3, epoch=0.3, loss=1.0))
    assert steps_of(tmp_path) == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("line", [b"\x00\x00\n", b"{}\n", b"not JSON\n", b"[]\n", b'"step"\n'])
def test_a_damaged_line_of_metrics_is_dropped(line: bytes, tmp_path: Path) -> None:
    with open_run(tmp_path, start_of(), config="", force=False) as folder:
        folder.add_metrics(TrainStep(step=1, epoch=0.1, loss=1.0))
        with (tmp_path / "metrics.jsonl").open("ab") as file:
            file.write(line)
        folder.add_metrics(TrainStep(step=2, epoch=0.2, loss=1.0))
        folder.rewind_metrics(2)
    assert steps_of(tmp_path) == [1, 2]


def test_rewinding_without_metrics_makes_an_empty_file(tmp_path: Path) -> None:
    with open_run(tmp_path, start_of(), config="", force=False) as folder:
        folder.rewind_metrics(5)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""
