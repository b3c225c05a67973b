"""The checkpoints of a run: one folder a step, whole or not there, checked before it is used.

Only the process that holds the run writes here, so whatever is half done when it starts was left
by one that was killed.
"""

import os.path
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spectrum_ft.errors import CheckpointError, OutputError
from spectrum_ft.staging import clear_leftovers, drop_folder, staged
from spectrum_ft.tuning.runs.manifests import (
    CheckpointDamaged,
    read_manifest,
    verify_manifest,
    write_manifest,
)

_NAME = re.compile(r"step-([0-9]{6,12})")
_LEFTOVER = re.compile(r"\.(step-[0-9]{6,12})\..*")


def step_folder(checkpoints: Path, step: int) -> Path:
    """The folder of the checkpoint after `step` optimizer steps, existing or not."""
    return checkpoints / f"step-{step:06d}"


@contextmanager
def writing_step(checkpoints: Path, step: int, run_id: str) -> Iterator[Path]:
    """An empty folder for a checkpoint's files, which becomes that step's when the block ends well.

    Its manifest is written then. It is on the disk before it appears, by one rename; one that is
    there already is replaced. After an exception, or a kill, the older state is what there is.
    Raises `OutputError`, also for an `OSError` in the block.
    """
    target = step_folder(checkpoints, step)
    hint = "make room there, then run the same command again to go on from the last checkpoint"
    with staged(target, hint=hint, when_taken="replace", abandoned_seconds=0) as folder:
        yield folder
        write_manifest(folder, run_id=run_id, step=step)


def recover_steps(checkpoints: Path) -> None:
    """Clear away what a killed process left half done: called when a run starts or goes on."""
    if not os.path.isdir(checkpoints):
        return
    try:
        found = [_LEFTOVER.fullmatch(path.name) for path in checkpoints.iterdir()]
        for name in sorted({match[1] for match in found if match}):
            clear_leftovers(checkpoints / name, abandoned_seconds=0)
    except OSError as fault:
        raise OutputError(
            f"{checkpoints}: cannot be cleared up ({fault.strerror})", "check its permissions"
        ) from None


def verify_step(folder: Path, run_id: str) -> None:
    """Raise unless `folder` is a whole checkpoint of the run.

    `CheckpointDamaged` names the file that is missing, extra, or not as it was written;
    `CheckpointError` is for another run's, or one that a newer version wrote.
    """
    if not os.path.isdir(folder):
        raise CheckpointError(f"{folder}: no such folder", "give one that is in checkpoints/")
    step = verify_manifest(folder, run_id=run_id).step
    if folder.name != step_folder(folder.parent, step).name:
        raise CheckpointDamaged(
            f"{folder}: holds step {step}", "give it its own name back, or use another one"
        )


def newest_step(checkpoints: Path, run_id: str) -> tuple[Path | None, tuple[str, ...]]:
    """The run's newest whole checkpoint, and a note for each newer one that was passed over.

    None if the run has no checkpoint yet. Raises `CheckpointError` if all that it has are damaged,
    and for one that a newer version wrote.
    """
    notes: list[str] = []
    num_damaged = 0
    for _, folder in sorted(_steps(checkpoints).items(), reverse=True):
        try:
            if read_manifest(folder).run != run_id:
                notes.append(f"Passed over {folder.name}: it belongs to another run.")
                continue
            verify_step(folder, run_id)
        except CheckpointDamaged as fault:
            num_damaged += 1
            notes.append(f"Passed over {folder.name}, which is damaged: {fault.message}")
            continue
        return folder, tuple(notes)
    if num_damaged:
        raise CheckpointError(
            f"{checkpoints}: no checkpoint is whole ({num_damaged} damaged). {notes[0]}",
            "restore one from a copy, or start anew with --force",
        )
    return None, tuple(notes)


def prune_steps(
    checkpoints: Path, keep: int, best_step: int | None, run_id: str, *, written: int
) -> None:
    """Delete the run's checkpoints but the `keep` newest and the best.

    The newest is that of step `written`: later ones were passed over as damaged, and stay until
    they are written again. Age is told by the step, never by a clock, and only folders whose
    manifest names the run are touched. Raises `OutputError`.
    """
    assert keep >= 1, keep
    own = [
        step
        for step, folder in sorted(_steps(checkpoints).items())
        if step <= written and _run_of(folder) == run_id
    ]
    for step in set(own[:-keep]) - {best_step}:
        _drop(step_folder(checkpoints, step))


def drop_steps_after(checkpoints: Path, step: int) -> None:
    """Delete the checkpoints of later steps, of whichever run. Raises `OutputError`."""
    for number, folder in _steps(checkpoints).items():
        if number > step:
            _drop(folder)


def _drop(folder: Path) -> None:
    try:
        drop_folder(folder)
    except OSError as fault:
        raise OutputError(
            f"{folder}: cannot be deleted ({fault.strerror})", "check its permissions"
        ) from None


def _steps(checkpoints: Path) -> dict[int, Path]:
    """What is there under a step's own name, by its number."""
    if not os.path.isdir(checkpoints):
        return {}
    found = {path: _NAME.fullmatch(path.name) for path in checkpoints.iterdir()}
    steps = {int(match[1]): path for path, match in found.items() if match}
    return {n: path for n, path in steps.items() if path == step_folder(checkpoints, n)}


def _run_of(folder: Path) -> str | None:
    """The run that wrote `folder`; None if it does not say."""
    try:
        return read_manifest(folder).run
    except CheckpointError:
        return None
