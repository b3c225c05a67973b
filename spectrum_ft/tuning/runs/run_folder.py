"""The folder of a run: started, resumed, finished, or somebody else's."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from spectrum_ft.errors import OutputError, TrainError
from spectrum_ft.locking import locked
from spectrum_ft.planning.plan_files import plan_to_yaml
from spectrum_ft.record_files import parse_record, read_bytes_of, to_json, to_record
from spectrum_ft.records.training import (
    CHANGE_NO_WEIGHT,
    RUN_SCHEMA,
    START_SCHEMA,
    RunStart,
    TrainRun,
    TrainSettings,
    TrainStep,
)
from spectrum_ft.writing import TEMPORARY, make_folder, write_file

START = "start.json"
RECORD = "run.json"
PLAN = "plan.yaml"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
RESULT = "result"
_LOCK = "lock"
_OURS = {START, RECORD, PLAN, METRICS, CHECKPOINTS, RESULT, _LOCK, "config.yaml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The folder of a run, locked for this process."""

    path: Path
    """Where it lies."""
    start: RunStart
    """What the run was started with, now or in an earlier process."""
    resuming: bool
    """Whether an earlier process began it."""

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints lie."""
        return self.path / CHECKPOINTS

    @property
    def result(self) -> Path:
        """Where its result lies, once it is finished."""
        return self.path / RESULT

    def add_metrics(self, step: TrainStep) -> None:
        """Append a line to metrics.jsonl, whole or not at all."""
        line = json.dumps(msgspec.to_builtins(step), allow_nan=False) + "\n"
        path = self.path / METRICS
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as file:
                file.write(line.encode())
        except OSError as fault:
            os.truncate(path, size)
            raise _unwritable(path, fault) from fault

    def rewind_metrics(self, step: int) -> None:
        """Drop what metrics.jsonl tells of steps after `step`; they will be done again."""
        path = self.path / METRICS
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if _step_of(line) <= step]
        write_file(path, b"".join(kept).decode(), force=True)

    def finish(self, run: TrainRun) -> None:
        """Write the record that makes the run a finished one."""
        write_file(self.path / RECORD, to_json(run), force=True)


@contextmanager
def open_run(path: Path, start: RunStart, *, config: str, force: bool) -> Iterator[RunFolder]:
    """The run in `path`: started with `start`, or taken up where it was left.

    `config` is the text of the effective configuration. An unfinished run with the same start is
    resumed; a finished one, one with another start, or a folder that holds anything else is
    refused, and with `force` an earlier run is deleted first. The folder is locked while the
    block runs. Raises `OutputError` and `TrainError`.
    """
    make_folder(path)
    _refuse_strangers(path)
    with locked(path / _LOCK, "another run is at work there"):
        if force:
            _clear(path)
        earlier = _earlier(path)
        if earlier is not None:
            _refuse_differences(path, earlier, start)
            # Whatever may differ is taken from now.
            now = replace(start, run_id=earlier.run_id, command=earlier.command)
            yield RunFolder(path=path, start=now, resuming=True)
            return
        # First what says whose folder this is.
        write_file(path / START, to_json(start), force=True)
        write_file(path / PLAN, plan_to_yaml(start.plan), force=True)
        write_file(path / "config.yaml", config, force=True)
        yield RunFolder(path=path, start=start, resuming=False)


def read_run(path: Path) -> TrainRun:
    """The record of the finished run in `path`; `RecordError` where there is none."""
    file = str(path / RECORD)
    return to_record(parse_record(read_bytes_of(file), file), TrainRun, RUN_SCHEMA, file)


def _unwritable(path: Path, fault: OSError) -> OutputError:
    return OutputError(
        f"{path}: cannot be written ({fault.strerror})",
        "make room there, then run the same command again",
    )


def _earlier(path: Path) -> RunStart | None:
    """The start of the unfinished run in `path`; None for an empty folder."""
    if (path / RECORD).exists():
        raise OutputError(
            f"{path}: holds a finished run",
            f"merge it with `spectrum merge {path} -o DIR`, give another folder, or pass --force",
        )
    if (path / START).exists():
        file = str(path / START)
        return to_record(parse_record(read_bytes_of(file), file), RunStart, START_SCHEMA, file)
    return None


def _refuse_strangers(path: Path) -> None:
    """Raise `OutputError` for a folder that holds anything but a run."""
    found = {entry.name for entry in path.iterdir()} - {_LOCK}
    is_run = START in found or RECORD in found
    found = {name for name in found if not name.startswith(TEMPORARY)}
    strange = sorted(found - _OURS if is_run else found)
    if strange:
        raise OutputError(
            f"{path}: holds something else ({ascii(strange[0])[1:-1][:60]})",
            "give an empty or a new folder",
        )


def _step_of(line: bytes) -> float:
    """The step that a line of metrics.jsonl tells of; infinite for one that is torn or damaged."""
    try:
        table = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return math.inf
    step = table.get("step") if isinstance(table, dict) else None
    return step if isinstance(step, int) else math.inf


def _refuse_differences(path: Path, before: RunStart, now: RunStart) -> None:
    # Weights and data are told by their digests, however they are named.
    apart = ("settings", "run_id", "command", "source")
    before, now = _unnamed(before), _unnamed(now)
    names = [f.name for f in fields(RunStart) if f.name not in apart]
    found = [_difference(name, before, now) for name in names]
    settings = [f.name for f in fields(TrainSettings) if f.name not in CHANGE_NO_WEIGHT]
    found += [_difference(name, before.settings, now.settings) for name in settings]
    differences = [text for text in found if text]
    if differences:
        raise TrainError(
            f"{path}: was started with other settings: {'; '.join(differences)}",
            "give the same ones to resume it, another folder, or --force to start anew",
        )


def _unnamed(start: RunStart) -> RunStart:
    """`start` without what says only how its parts were called."""
    model = replace(start.plan.model, source="")
    plan = replace(start.plan, model=model, command="")
    held_out = None if start.settings.eval_data is None else ""
    return replace(start, plan=plan, settings=replace(start.settings, data="", eval_data=held_out))


def _difference(name: str, before: Any, now: Any) -> str:
    old, new = getattr(before, name), getattr(now, name)
    if old == new:
        return ""
    if isinstance(old, str | int | float | bool | None) and len(f"{old}{new}") < 80:
        return f"{name} was {old}, is {new}"
    return f"{name} differs"


def _clear(path: Path) -> None:
    """Delete the run in `path`; last of all what says that it is one."""
    (path / RECORD).unlink(missing_ok=True)
    for name in (CHECKPOINTS, RESULT):
        shutil.rmtree(path / name, ignore_errors=True)
    for name in (PLAN, METRICS, "config.yaml", START):
        (path / name).unlink(missing_ok=True)
