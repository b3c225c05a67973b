"""The checkpoints of a run: what changed, and all that resuming bit for bit takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file
from torch import Tensor

from spectrum_ft.errors import CheckpointError
from spectrum_ft.tuning.applying import Applied
from spectrum_ft.tuning.randomness import random_state, set_random_state
from spectrum_ft.tuning.runs.progress import Progress
from spectrum_ft.tuning.runs.state_files import read_state, write_state
from spectrum_ft.tuning.runs.step_folders import (
    drop_steps_after,
    prune_steps,
    step_folder,
    writing_step,
)
from spectrum_ft.tuning.runs.tensor_files import write_tensors

TRAINED = "trained.safetensors"
ADAPTERS = "adapters.safetensors"
OPTIMIZER = "optimizer"
SCHEDULER = "scheduler"
RANDOMNESS = "randomness"
PROGRESS = "progress"


class RunCheckpoints:
    """The folder `checkpoints` of one run, and what its step folders hold."""

    def __init__(self, folder: Path, *, run_id: str, keep: int) -> None:
        self.folder = folder
        """Where the step folders lie."""
        self._run_id = run_id
        self._keep = keep

    def folder_of(self, step: int) -> Path:
        """The folder of the checkpoint after `step`, existing or not."""
        return step_folder(self.folder, step)

    @contextmanager
    def writing(self, step: int) -> Iterator[Path]:
        """An empty folder to fill, which becomes the checkpoint of `step` when the block ends."""
        with writing_step(self.folder, step, self._run_id) as folder:
            yield folder

    def write(
        self,
        folder: Path,
        *,
        applied: Applied,
        optimizer: dict[str, Any],
        scheduler: dict[str, Any],
        progress: Progress,
    ) -> None:
        """Fill `folder`: trained tensors, adapters, optimizer, schedule, randomness, progress."""
        write_trained(folder, applied)
        if applied.adapters:
            write_tensors(folder / ADAPTERS, applied.adapters)
        write_state(folder, OPTIMIZER, optimizer)
        write_state(folder, SCHEDULER, scheduler)
        write_state(folder, RANDOMNESS, random_state())
        write_state(folder, PROGRESS, msgspec.to_builtins(progress))

    def prune(self, best_step: int | None, *, written: int) -> None:
        """Drop all but the newest few, up to that of step `written`, and the best."""
        prune_steps(self.folder, self._keep, best_step, self._run_id, written=written)

    def drop_later(self, step: int) -> None:
        """Drop the checkpoints after `step`, from where the run goes on and makes them anew."""
        drop_steps_after(self.folder, step)

    def read_weights(self, folder: Path, applied: Applied) -> None:
        """Put the trained tensors and adapters of the checkpoint in `folder` into the model."""
        if applied.units:
            applied.load_trained(_read(folder / TRAINED))
        if applied.adapters:
            found = _read(folder / ADAPTERS)
            if set(found) != set(applied.adapters):
                raise CheckpointError(f"{folder}: holds other adapters than the plan's")
            with torch.no_grad():
                for name, parameter in applied.adapters.items():
                    parameter.copy_(found[name])

    def read_optimizer(self, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """The state of the optimizer and of the learning rate's schedule."""
        return read_state(folder, OPTIMIZER), read_state(folder, SCHEDULER)

    def read_randomness(self, folder: Path) -> None:
        """Put all generators of random numbers into the state that they were in."""
        set_random_state(read_state(folder, RANDOMNESS))

    def read_progress(self, folder: Path) -> Progress:
        """How far the run had come."""
        return msgspec.convert(read_state(folder, PROGRESS), Progress)


def write_trained(folder: Path, applied: Applied) -> None:
    """Write what trains in full into `folder`, under the checkpoint's names; nothing if none."""
    if applied.units:
        write_tensors(folder / TRAINED, applied.trained_tensors())


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path}: missing", "resume from another checkpoint")
    tensors: dict[str, Tensor] = load_file(path)
    return tensors
