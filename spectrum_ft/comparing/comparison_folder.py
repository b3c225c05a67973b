"""The folder of a comparison: what it holds equal, and every trial that was finished.

start.json       what all trials share; another comparison is refused
data/            the training data in two parts, where learning rates are chosen
trials/NAME/     job.json, log.txt and, once finished, trial.json; run/ while it trains
comparison.json  what all finished trials come to
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from spectrum_ft.comparing.jobs import Job
from spectrum_ft.comparing.trial_process import RUN, TRIAL
from spectrum_ft.errors import OutputError
from spectrum_ft.locking import locked
from spectrum_ft.record_files import parse_record, read_bytes_of, to_json, to_record
from spectrum_ft.records.comparisons import (
    COMPARISON_SCHEMA,
    TRIAL_SCHEMA,
    CompareError,
    CompareSettings,
    Comparison,
    Trial,
)
from spectrum_ft.records.training import CHANGE_NO_WEIGHT
from spectrum_ft.writing import TEMPORARY, make_folder, write_file

START_SCHEMA = "spectrum-ft/comparison-start@1"
START, RECORD, DATA, TRIALS, _LOCK = "start.json", "comparison.json", "data", "trials", "lock"

# What may differ between two sittings: none of it changes what a finished trial came to. Files
# are told by their digests, and every trial has its own seed and rate.
_FREE_IN_TRAINING = CHANGE_NO_WEIGHT | {"data", "eval_data", "seed"}
_FREE_IN_EVALUATION = {"data", "examples", "general"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareStart:
    """What all trials of a comparison share."""

    schema: str = START_SCHEMA
    """Name and version of this layout."""
    model_digest: str
    """What tells the model's weights from others."""
    data_digest: str
    """What tells the training data from others."""
    eval_digest: str
    """What tells the test data from others."""
    general_digest: str | None
    """SHA-256 of the general text; None without one."""
    validation_share: float | None
    """The share of the training data that learning rates are chosen on; None where all trains."""
    settings: CompareSettings
    """What was held equal."""
    tokenizer_digest: str | None = None
    """What tells the tokenizer and its chat template from others; null in records before it."""
    sittings: tuple[str, ...] = ()
    """What was asked in each sitting, where that was not the same as in the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonFolder:
    """The folder of a comparison, locked for this process."""

    path: Path
    """Where it lies."""
    start: CompareStart
    """What all of its trials share."""

    @property
    def data(self) -> Path:
        """Where the parts of the training data lie."""
        return self.path / DATA

    def trial_folder(self, job: Job) -> Path:
        """Where the trial of `job` lies, or will."""
        return self.path / TRIALS / job.folder_name

    def finished(self, job: Job) -> Trial | None:
        """The trial of `job`, if it was finished; `RecordError` if its record is damaged."""
        file = self.trial_folder(job) / TRIAL
        if not file.exists():
            return None
        trial = read_trial(file)
        if trial.key != job.key:
            raise CompareError(
                f"{file}: is the record of another trial", "delete that folder to try it again"
            )
        return trial

    def drop_weights(self, job: Job) -> None:
        """Delete what the trial of `job` trained; its record stays."""
        shutil.rmtree(self.trial_folder(job) / RUN, ignore_errors=True)

    def keep(self, comparison: Comparison) -> None:
        """Write what all finished trials come to so far."""
        write_file(self.path / RECORD, to_json(comparison), force=True)


@contextmanager
def open_comparison(path: Path, start: CompareStart, *, force: bool) -> Iterator[ComparisonFolder]:
    """The comparison in `path`, begun with `start` or taken up there; locked while the block runs.

    Arms, seeds, learning rates and questions may be added. With `force` an earlier comparison is
    deleted. Raises `CompareError` listing what else differs, and `OutputError` for a folder that
    holds something else.
    """
    make_folder(path)
    _refuse_strangers(path)
    with locked(path / _LOCK, "another comparison is at work there"):
        for leftover in path.glob(f"{TEMPORARY}*"):
            leftover.unlink()
        if force:
            _clear(path)
        if (path / START).exists():
            file = str(path / START)
            earlier = to_record(
                parse_record(read_bytes_of(file), file), CompareStart, START_SCHEMA, file
            )
            _refuse_differences(path, earlier, start)
            start = replace(start, sittings=_told(earlier.sittings, start.sittings))
        write_file(path / START, to_json(start), force=True)
        yield ComparisonFolder(path=path, start=start)


def _refuse_strangers(path: Path) -> None:
    """Raise `OutputError` for a folder that holds things and no comparison.

    Beside a comparison there may be others' files, which are left alone.
    """
    found = {entry.name for entry in path.iterdir()} - {_LOCK}
    strange = sorted(name for name in found if not name.startswith(TEMPORARY))
    if strange and START not in found:
        raise OutputError(
            f"{path}: holds something else ({ascii(strange[0])[1:-1][:60]})",
            "give an empty or a new folder",
        )


def read_trial(file: Path) -> Trial:
    """The trial kept in `file`; `RecordError` if it is damaged."""
    return to_record(
        parse_record(read_bytes_of(str(file)), str(file)), Trial, TRIAL_SCHEMA, str(file)
    )


def read_comparison(path: str) -> Comparison:
    """The comparison in the folder `path`, or in that file; `RecordError` if there is none."""
    file = str(Path(path) / RECORD) if Path(path).is_dir() else path
    return to_record(parse_record(read_bytes_of(file), file), Comparison, COMPARISON_SCHEMA, file)


def _told(before: tuple[str, ...], now: tuple[str, ...]) -> tuple[str, ...]:
    return before if before[-1:] == now else (*before, *now)


def _clear(path: Path) -> None:
    """Delete the comparison in `path`; last of all what says that it is one."""
    for file in (path / RECORD, *path.glob("*-by-*.png")):
        file.unlink(missing_ok=True)
    for name in (TRIALS, DATA):
        shutil.rmtree(path / name, ignore_errors=True)
    (path / START).unlink(missing_ok=True)


def _refuse_differences(path: Path, before: CompareStart, now: CompareStart) -> None:
    found = [
        f"{name} was {old}, is {new}" if len(f"{old}{new}") < 80 else f"{name} differs"
        for name, (old, new) in _differences(before, now).items()
    ]
    if found:
        raise CompareError(
            f"{path}: was begun otherwise: {'; '.join(found)}",
            "give the same to go on with it, another folder, or --force to begin anew",
        )


def _differences(before: CompareStart, now: CompareStart) -> dict[str, tuple[Any, Any]]:
    tables = [_held_equal(start) for start in (before, now)]
    return {
        name: (tables[0].get(name), tables[1].get(name))
        for name in dict.fromkeys((*tables[0], *tables[1]))
        if tables[0].get(name) != tables[1].get(name) and not _is_unknown(name, tables)
    }


def _is_unknown(name: str, tables: list[dict[str, Any]]) -> bool:
    """Whether an older record does not say, so that there is nothing to compare."""
    return name == "tokenizer_digest" and None in (tables[0][name], tables[1][name])


def _held_equal(start: CompareStart) -> dict[str, Any]:
    """What may not differ, in one table."""
    apart = {"schema", "settings", "sittings"}
    digests = [f.name for f in fields(CompareStart) if f.name not in apart]
    table = {name: getattr(start, name) for name in digests}
    settings = start.settings
    table |= {"minutes": settings.minutes, "match": settings.match}
    training, evaluation = (
        msgspec.to_builtins(part) for part in (settings.training, settings.evaluation)
    )
    table |= {name: v for name, v in training.items() if name not in _FREE_IN_TRAINING}
    table |= {
        f"evaluation {name}": v for name, v in evaluation.items() if name not in _FREE_IN_EVALUATION
    }
    return table
