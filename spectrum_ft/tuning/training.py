"""A training run, from a model, a plan and data to a result: the steps, in their order.

with prepare_training("./model", plan, settings, Path("run")) as training:
    print(training.contract)
    run = training.run()
"""

import gc
import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectrum_ft.environment import command_line, current_environment
from spectrum_ft.errors import CheckpointError, TrainError, UnsoundRunError
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import (
    Contract,
    DataSummary,
    RunStart,
    TrainRun,
    TrainSettings,
    TrainStep,
)
from spectrum_ft.staging import drop_folder
from spectrum_ft.tuning.applying import Applied, apply_plan
from spectrum_ft.tuning.contracts import model_digest
from spectrum_ft.tuning.devices import DTYPES, torch_device
from spectrum_ft.tuning.guarding import memory_explained
from spectrum_ft.tuning.loading import load_for_training, read_masters
from spectrum_ft.tuning.preparing import Prepared, prepare
from spectrum_ft.tuning.process_memory import (
    give_freed_memory_back,
    reset_peak,
    resident_bytes,
)
from spectrum_ft.tuning.runs.progress import Meter, Progress
from spectrum_ft.tuning.runs.results import folder_bytes, moved_weights, write_result
from spectrum_ft.tuning.runs.room import check_room
from spectrum_ft.tuning.runs.run_checkpoints import RunCheckpoints
from spectrum_ft.tuning.runs.run_folder import START, RunFolder, open_run
from spectrum_ft.tuning.runs.step_folders import newest_step, recover_steps, verify_step


class Stopped(Exception):
    """The run was asked to stop, and has: everything so far is in a checkpoint."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step
        """The last step done."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """A run that is ready to begin, or to go on; nothing is loaded yet."""

    prepared: Prepared
    """What was checked."""
    folder: RunFolder
    """The run's folder, locked."""
    resumed_from: Path | None
    """The checkpoint that it goes on from."""
    notes: tuple[str, ...]
    """What the user should know before it starts."""
    imported_memory_bytes: int
    """Memory before anything of the model is loaded: what libraries and data take."""

    @property
    def contract(self) -> Contract:
        """What the run is about to do."""
        return self.prepared.contract

    @property
    def data(self) -> DataSummary:
        """The training data."""
        return self.prepared.data

    @property
    def eval_data(self) -> DataSummary | None:
        """The held-out data."""
        return self.prepared.eval_data

    def run(
        self,
        watch: Callable[[TrainStep], None] = lambda step: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> TrainRun:
        """Load the model and train it: `load` and `train` in one."""
        return self.train(self.load(), watch, should_stop)

    def load(self) -> Applied:
        """The model in memory, with the plan applied to it and proved."""
        settings, plan, base = self.prepared.settings, self.prepared.plan, self.prepared.base
        device, dtype = torch_device(settings), DTYPES[settings.dtype]
        if _is_tight(self.contract) and device.type == "cpu":
            give_freed_memory_back()
        gc.collect()
        reset_peak(device)
        with memory_explained():
            loaded = load_for_training(base, plan, dtype=dtype, device=device)
        assert loaded.quantized == self.prepared.quantized
        applied = apply_plan(loaded.model, plan, precision=settings.precision, seed=settings.seed)
        if settings.precision == "master" and dtype != torch.float32:
            read_masters(applied, base)
        return applied

    def train(
        self,
        applied: Applied,
        watch: Callable[[TrainStep], None] = lambda step: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> TrainRun:
        """Train what `load` returned and keep the result; the record of what was done.

        `watch` is told of every step and evaluation as it is done. `should_stop` is asked after
        every step: once it says so a checkpoint is written and `Stopped` raised. Raises
        `UnsoundRunError` when the loss guard stops the run, `OutputError` when the disk is full.
        """
        from spectrum_ft.tuning.trainer import SelectiveTrainer

        settings, checkpoints = self.prepared.settings, self._checkpoints()
        progress = Progress()
        if self.resumed_from is not None:
            progress = checkpoints.read_progress(self.resumed_from)
        self.folder.rewind_metrics(len(progress.losses))
        meter = Meter(progress, torch_device(settings))

        def keep_and_tell(step: TrainStep) -> None:
            self.folder.add_metrics(step)
            watch(step)

        trainer = SelectiveTrainer(
            applied,
            settings,
            tokenizer=self.prepared.tokenizer,
            dataset=self.prepared.dataset,
            eval_dataset=self.prepared.eval_dataset,
            checkpoints=checkpoints,
            meter=meter,
            watch=keep_and_tell,
            should_stop=should_stop,
        )
        start = None if self.resumed_from is None else str(self.resumed_from)
        if self._is_over(progress):
            assert self.resumed_from is not None
            checkpoints.read_weights(self.resumed_from, applied)
            trainer.state.global_step = len(progress.losses)
        else:
            with memory_explained():
                trainer.train(resume_from_checkpoint=start)
        step = int(trainer.state.global_step)
        if should_stop() and not self._is_over(progress):
            raise Stopped(step)
        if self.prepared.eval_dataset is not None and progress.last_eval_step != step:
            trainer.evaluate()
        best = progress.best_step if settings.keep_best else None
        if best is not None and best != step:
            verify_step(checkpoints.folder_of(best), self.folder.start.run_id)
            checkpoints.read_weights(checkpoints.folder_of(best), applied)
            step = best
        run = self._finish(applied, meter, step)
        if settings.save_every is None:
            drop_folder(checkpoints.folder)  # the last one only bridged the end
        return run

    def _is_over(self, progress: Progress) -> bool:
        """Whether all steps are done, or as many as there is patience for."""
        patience = self.prepared.settings.patience
        tired = patience is not None and progress.evaluations_since_best >= patience
        return tired or len(progress.losses) >= self.contract.steps

    def _checkpoints(self) -> RunCheckpoints:
        start = self.folder.start
        return RunCheckpoints(
            self.folder.checkpoints, run_id=start.run_id, keep=start.settings.keep
        )

    def _finish(self, applied: Applied, meter: Meter, step: int) -> TrainRun:
        start, progress, now = self.folder.start, meter.progress, meter.measured()
        base = self.prepared.base
        moved = moved_weights(applied, base)
        if moved.share == 0.0:
            raise UnsoundRunError(
                "nothing that trains has moved: the result would be the base itself",
                "use --precision master, a higher --lr, or more steps",
            )
        result = self.folder.result
        write_result(result, applied, base=base, run_id=start.run_id, step=step)
        losses = progress.losses
        tail = losses[-max(1, len(losses) // 10) :]
        of_result = progress.best_loss if start.settings.keep_best else progress.last_eval_loss
        run = TrainRun(
            source=start.source,
            base_folder=str(base.folder.absolute()),
            plan=start.plan,
            settings=start.settings,
            contract=self.contract,
            data=self.data,
            eval_data=self.eval_data,
            quantized=self.prepared.quantized,
            adapted=applied.adapted,
            steps=len(losses),
            result_step=step,
            first_loss=losses[0],
            last_loss=sum(tail) / len(tail),
            eval_loss=of_result,
            moved=moved.share,
            moved_tensors=moved.by_tensor,
            seconds=now["seconds"],
            tokens=now["tokens"],
            peak_memory_bytes=now["memory_bytes"],
            imported_memory_bytes=self.imported_memory_bytes,
            result_bytes=folder_bytes(result),
            environment=current_environment(self.contract.device),
            command=start.command,
        )
        self.folder.finish(run)
        return run


def _is_tight(contract: Contract) -> bool:
    """Whether memory that the allocator keeps for later could be what is missing."""
    forecast = contract.forecast
    return forecast is not None and 2 * forecast.total_bytes > contract.available_bytes


def train(
    source: str,
    plan: Plan,
    settings: TrainSettings,
    output: Path,
    *,
    watch: Callable[[TrainStep], None] = lambda step: None,
    force: bool = False,
) -> TrainRun:
    """Train `source` under `plan` in the folder `output`, or go on with it; the run's record.

    See `prepare_training`, which also tells what is going to happen before it does.
    """
    with prepare_training(source, plan, settings, output, force=force) as training:
        return training.run(watch)


@contextmanager
def prepare_training(
    source: str,
    plan: Plan,
    settings: TrainSettings,
    output: Path,
    *,
    config: str = "",
    force: bool = False,
    resume_from: int | None = None,
    ignore_forecast: bool = False,
) -> Iterator[Training]:
    """`prepare` and `open_training` in one."""
    prepared = prepare(source, plan, settings, ignore_forecast=ignore_forecast)
    with open_training(
        prepared, output, config=config, force=force, resume_from=resume_from
    ) as training:
        yield training


@contextmanager
def open_training(
    prepared: Prepared,
    output: Path,
    *,
    config: str = "",
    force: bool = False,
    resume_from: int | None = None,
) -> Iterator[Training]:
    """The run in the folder `output`, started with what was prepared, or taken up there.

    An unfinished run with the same start goes on from its newest whole checkpoint, or from step
    `resume_from`. `config` is kept beside it. With `force` an earlier run is deleted. The folder
    is locked while the block runs. Raises `OutputError`, `TrainError` and `CheckpointError`.
    """
    if resume_from is not None and not (output / START).exists():
        raise CheckpointError(
            f"{output}: holds no run, so there is no step {resume_from} to go on from",
            "leave --resume-from out",
        )
    if resume_from is not None and force:
        raise TrainError(
            "--force deletes the run that --resume-from would go on from", "give one of them"
        )
    import spectrum_ft.tuning.trainer  # noqa: F401  # its memory is not the model's

    start = RunStart(
        run_id=secrets.token_hex(8),
        source=prepared.base.source,
        model_digest=model_digest(prepared.base),
        plan=prepared.plan,
        settings=prepared.settings,
        data_digest=_digest(prepared.dataset),
        eval_digest=_digest(prepared.eval_dataset) if prepared.eval_data else None,
        command=command_line(),
    )
    with open_run(output, start, config=config, force=force) as folder:
        check_room(output, prepared.contract, prepared.settings)
        resumed, notes = _resume_point(folder, resume_from)
        on_cpu = prepared.settings.device == "cpu"
        yield Training(
            prepared=prepared,
            folder=folder,
            resumed_from=resumed,
            notes=notes,
            imported_memory_bytes=resident_bytes() if on_cpu else 0,
        )


def _digest(dataset: Any) -> str:
    """SHA-256 over what is learned from: a data set's tokens and labels, in their order."""
    digest = hashlib.sha256()
    for column in ("input_ids", "labels"):
        for row in dataset[column]:
            digest.update(np.asarray([len(row), *row], dtype=np.int64).data)
    return digest.hexdigest()


def _resume_point(folder: RunFolder, wanted: int | None) -> tuple[Path | None, tuple[str, ...]]:
    """The checkpoint to go on from, and what was passed over."""
    if not folder.resuming:
        return None, ()
    recover_steps(folder.checkpoints)
    run_id = folder.start.run_id
    if wanted is None:
        return newest_step(folder.checkpoints, run_id)
    checkpoints = RunCheckpoints(folder.checkpoints, run_id=run_id, keep=1)
    chosen = checkpoints.folder_of(wanted)
    verify_step(chosen, run_id)
    checkpoints.drop_later(wanted)
    return chosen, ()
