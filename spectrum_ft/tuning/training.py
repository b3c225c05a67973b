"""A training run, from a model, a plan and data to a result: the steps, in their order.

with prepare_training("./model", plan, settings, Path("run")) as training:
    print(training.contract)
    run = training.run()
"""

import gc
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spectrum_ft.environment import command_line, current_environment
from spectrum_ft.errors import CheckpointError, TrainError
from spectrum_ft.records import DataSummary, Plan
from spectrum_ft.train_records import Contract, RunStart, TrainRun, TrainSettings, TrainStep
from spectrum_ft.tuning.applying import Applied, apply_plan
from spectrum_ft.tuning.bases import Base, fit_plan, open_base
from spectrum_ft.tuning.contracts import (
    check_names,
    make_contract,
    model_digest,
    planned_steps,
    refuse_if_too_large,
)
from spectrum_ft.tuning.data_files import read_rows
from spectrum_ft.tuning.devices import DTYPES, decide, device_name, torch_device
from spectrum_ft.tuning.encoding import Encoded, encode
from spectrum_ft.tuning.loading import load_for_training, planned_quantized, read_masters
from spectrum_ft.tuning.optimizing import check_optimizer
from spectrum_ft.tuning.packing import pack
from spectrum_ft.tuning.process_memory import available_bytes, reset_peak, resident_bytes
from spectrum_ft.tuning.progress import Meter, Progress
from spectrum_ft.tuning.results import folder_bytes, moved_share, write_result
from spectrum_ft.tuning.run_checkpoints import RunCheckpoints
from spectrum_ft.tuning.run_folder import RunFolder, open_run
from spectrum_ft.tuning.step_folders import newest_step, recover_steps, verify_step
from spectrum_ft.tuning.tokenizers import read_tokenizer


class Stopped(Exception):
    """The run was asked to stop, and has: everything so far is in a checkpoint."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step
        """The last step done."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """A run that is ready to begin, or to go on: all is checked, nothing is loaded."""

    folder: RunFolder
    """The run's folder."""
    contract: Contract
    """What it is about to do."""
    data: DataSummary
    """The training data."""
    eval_data: DataSummary | None
    """The held-out data."""
    resumed_from: Path | None
    """The checkpoint that it goes on from."""
    notes: tuple[str, ...]
    """What the user should know before it starts."""
    base: Base
    """The model."""
    quantized: tuple[str, ...]
    """The matrices that will be packed."""
    tokenizer: Any
    """The model's tokenizer."""
    dataset: Any
    """The training data as tokens."""
    eval_dataset: Any
    """The held-out data as tokens."""

    def run(
        self,
        watch: Callable[[TrainStep], None] = lambda step: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> TrainRun:
        """Load, train, and keep the result; the record of what was done.

        `watch` is told of every step and evaluation as it is done. `should_stop` is asked after
        every step: once it says so a checkpoint is written and `Stopped` raised. Raises
        `TrainError` when the loss guard stops the run, `OutputError` when the disk is full.
        """
        from spectrum_ft.tuning.trainer import SelectiveTrainer

        settings, device = self.folder.start.settings, torch_device(self.folder.start.settings)
        gc.collect()
        reset_peak(device)
        before = resident_bytes() if device.type == "cpu" else 0
        applied = self._load(settings, device)
        checkpoints = self._checkpoints()
        progress = Progress()
        if self.resumed_from is not None:
            progress = checkpoints.read_progress(self.resumed_from)
            self.folder.rewind_metrics(len(progress.losses))
        meter = Meter(progress, device)

        def keep_and_tell(step: TrainStep) -> None:
            self.folder.add_metrics(step)
            watch(step)

        trainer = SelectiveTrainer(
            applied,
            settings,
            tokenizer=self.tokenizer,
            dataset=self.dataset,
            eval_dataset=self.eval_dataset,
            checkpoints=checkpoints,
            meter=meter,
            watch=keep_and_tell,
            should_stop=should_stop,
        )
        start = None if self.resumed_from is None else str(self.resumed_from)
        trainer.train(resume_from_checkpoint=start)
        step = int(trainer.state.global_step)
        if should_stop() and step < self.contract.steps:
            raise Stopped(step)
        best = progress.best_step if settings.keep_best else None
        if best is not None and best != step:
            checkpoints.read_weights(checkpoints.folder_of(best), applied)
            step = best
        elif self.eval_dataset is not None and progress.last_eval_step != step:
            trainer.evaluate()
        return self._finish(applied, meter, step, before)

    def _load(self, settings: TrainSettings, device: torch.device) -> Applied:
        plan, dtype = self.folder.start.plan, DTYPES[settings.dtype]
        loaded = load_for_training(self.base, plan, dtype=dtype, device=device)
        assert loaded.quantized == self.quantized
        applied = apply_plan(loaded.model, plan, precision=settings.precision, seed=settings.seed)
        if settings.precision == "master" and dtype != torch.float32:
            read_masters(applied, self.base)
        return applied

    def _checkpoints(self) -> RunCheckpoints:
        start = self.folder.start
        return RunCheckpoints(
            self.folder.checkpoints, run_id=start.run_id, keep=start.settings.keep
        )

    def _finish(self, applied: Applied, meter: Meter, step: int, before: int) -> TrainRun:
        start, progress, now = self.folder.start, meter.progress, meter.measured()
        moved = moved_share(applied, self.base)
        if moved == 0.0:
            raise TrainError(
                "nothing that trains has moved: the result would be the base itself",
                "use --precision master, a higher --lr, or more steps",
            )
        result = self.folder.result
        write_result(result, applied, base=self.base, run_id=start.run_id, step=step)
        losses = progress.losses
        tail = losses[-max(1, len(losses) // 10) :]
        of_result = progress.best_loss if start.settings.keep_best else progress.last_eval_loss
        run = TrainRun(
            source=start.source,
            base_folder=str(self.base.folder),
            plan=start.plan,
            settings=start.settings,
            contract=self.contract,
            data=self.data,
            eval_data=self.eval_data,
            quantized=self.quantized,
            adapted=applied.adapted,
            steps=len(losses),
            result_step=step,
            first_loss=losses[0],
            last_loss=sum(tail) / len(tail),
            eval_loss=of_result,
            moved=moved,
            seconds=now["seconds"],
            tokens=now["tokens"],
            peak_memory_bytes=now["memory_bytes"],
            loaded_memory_bytes=before,
            result_bytes=folder_bytes(result),
            environment=current_environment(self.contract.device),
            command=start.command,
        )
        self.folder.finish(run)
        return run


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
    """A run of `source` under `plan`, checked as far as it can be without loading the model.

    `output` is the run's folder: an unfinished run with the same start is taken up there, from
    its newest whole checkpoint or from step `resume_from`. `config` is kept beside it. With
    `force` an earlier run is deleted; with `ignore_forecast` a run that should not fit into memory
    is tried. Raises the `SpectrumError` of whatever is wrong: plan, data, settings, space.
    """
    settings = decide(settings)
    check_optimizer(settings.optimizer, settings.device)
    base = open_base(source)
    plan = fit_plan(plan, base)
    check_names(base, plan)
    tokenizer = read_tokenizer(base.folder)
    data, eval_data = _encode(tokenizer, settings)
    dataset = pack(data.dataset, settings.max_length) if settings.packing else data.dataset
    quantized = planned_quantized(base, plan)
    device = torch_device(settings)
    contract = make_contract(
        base,
        plan,
        settings,
        quantized=quantized,
        steps=planned_steps(len(dataset), settings),
        device=device_name(device),
        forecast=None,
        available_bytes=available_bytes(device),
    )
    if not ignore_forecast:
        refuse_if_too_large(contract)
    start = RunStart(
        run_id=secrets.token_hex(8),
        source=source,
        model_digest=model_digest(base),
        plan=plan,
        settings=settings,
        data_digest=data.summary.digest,
        eval_digest=eval_data.summary.digest if eval_data else None,
        command=command_line(),
    )
    with open_run(output, start, config=config, force=force) as folder:
        resumed, notes = _resume_point(folder, resume_from)
        yield Training(
            folder=folder,
            contract=contract,
            data=data.summary,
            eval_data=eval_data.summary if eval_data else None,
            resumed_from=resumed,
            notes=notes,
            base=base,
            quantized=quantized,
            tokenizer=tokenizer,
            dataset=dataset,
            eval_dataset=eval_data.dataset if eval_data else None,
        )


def _encode(tokenizer: Any, settings: TrainSettings) -> tuple[Encoded, Encoded | None]:
    def encoded(source: str) -> Encoded:
        rows = read_rows(source, settings.columns)
        return encode(rows, tokenizer, max_length=settings.max_length, train_on=settings.train_on)

    held_out = encoded(settings.eval_data) if settings.eval_data is not None else None
    return encoded(settings.data), held_out


def _resume_point(folder: RunFolder, wanted: int | None) -> tuple[Path | None, tuple[str, ...]]:
    """The checkpoint to go on from, and what was passed over."""
    if not folder.resuming:
        if wanted is not None:
            raise CheckpointError(
                f"{folder.path}: holds no run, so there is no step {wanted} to go on from",
                "leave --resume-from out",
            )
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
