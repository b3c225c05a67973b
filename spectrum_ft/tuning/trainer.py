"""TRL's SFTTrainer, where selective training needs more than it does.

Everything that leans on methods which transformers and TRL keep to themselves is in this file;
tests/tuning/test_trainer.py holds their signatures.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_callback import TrainerState
from trl import SFTConfig, SFTTrainer

from spectrum_ft.errors import TrainError
from spectrum_ft.records.training import TrainSettings, TrainStep
from spectrum_ft.tuning.applying import Applied, prove_plan
from spectrum_ft.tuning.collating import Collator, keeps_rows_apart
from spectrum_ft.tuning.contracts import planned_steps
from spectrum_ft.tuning.devices import torch_device
from spectrum_ft.tuning.guarding import MovementCheck, check_held_out, check_step
from spectrum_ft.tuning.loading import as_unquantized
from spectrum_ft.tuning.losses import held_out_loss, learned_positions, summed_loss
from spectrum_ft.tuning.optimizing import parameter_groups
from spectrum_ft.tuning.rounding import StochasticRounding
from spectrum_ft.tuning.runs.progress import Meter
from spectrum_ft.tuning.runs.run_checkpoints import RunCheckpoints

STATE = "trainer_state.json"

# Above this many learned positions in a batch, TRL's head, which goes over them in chunks, takes
# less memory than ours, which scores all of them at once.
_MOST_AT_ONCE = 2048


class SelectiveTrainer(SFTTrainer):  # type: ignore[misc]  # TRL is not typed
    """Trains what a plan says, keeps only what changed, and stops before it does harm."""

    def __init__(
        self,
        applied: Applied,
        settings: TrainSettings,
        *,
        tokenizer: Any,
        dataset: Any,
        eval_dataset: Any,
        checkpoints: RunCheckpoints,
        meter: Meter,
        watch: Callable[[TrainStep], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._applied = applied
        self._settings = settings
        self._checkpoints = checkpoints
        self._meter = meter
        self._progress = meter.progress
        self._watch = watch
        self._should_stop = should_stop
        self._head = applied.base.get_output_embeddings()
        self._rounding: StochasticRounding | None = None
        self._movement: MovementCheck | None = None
        self._moved = False
        self._step_loss = 0.0
        self._rates: dict[str, float | None] = {}
        # Both TRL and transformers turn gradients of the embeddings' output on for checkpointing,
        # which would drag the backward pass through all blocks below the lowest trained one.
        applied.base.enable_input_require_grads = lambda: None
        _name_number_of_experts(applied.base.config.get_text_config())
        with as_unquantized(applied.base):
            super().__init__(
                model=applied.model,
                args=_arguments(settings, checkpoints.folder, len(dataset)),
                data_collator=_collator(applied, settings, tokenizer),
                train_dataset=dataset,
                eval_dataset=eval_dataset,
                processing_class=tokenizer,
            )
        self.remove_callback(PrinterCallback)
        self.add_callback(_Conductor(self))
        prove_plan(applied)

    # transformers' own attributes, which it does not annotate.
    optimizer: Any
    lr_scheduler: Any
    control: Any

    # What trains, and how.

    def create_optimizer(self, model: Any = None) -> Any:
        """The optimizer that the settings name, over the plan's parameter groups."""
        if self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = kind(parameter_groups(self._applied, self._settings), **options)
            if self._settings.precision == "stochastic":
                parameters = list(self._applied.trained.values())
                self._rounding = StochasticRounding(self.optimizer, parameters, self._settings.seed)
        return self.optimizer

    def _prepare_for_training(self, *arguments: Any, **named: Any) -> Any:
        prepared = super()._prepare_for_training(*arguments, **named)
        lowest = self._applied.lowest_layer
        if lowest is not None and self._settings.grad_checkpointing:
            for layer in _blocks(self._applied.base)[:lowest]:
                layer.gradient_checkpointing = False
        prove_plan(self._applied)
        return prepared

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The mean loss of the learned tokens, in nats."""
        self._progress.tokens += _tokens(inputs)
        few = int(learned_positions(inputs["labels"]).sum()) <= _MOST_AT_ONCE
        if return_outputs or self.aux_loss_enabled or self.args.device.type != "cpu" or not few:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        total, learned = summed_loss(model, self._head, inputs)
        return total / (learned if num_items_in_batch is None else num_items_in_batch)

    def training_step(self, *arguments: Any, **named: Any) -> Tensor:
        """One forward and backward pass; its share of the step's loss."""
        loss: Tensor = super().training_step(*arguments, **named)
        self._step_loss += loss.item()
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        check_step(self.state.global_step + 1, self._step_loss, float(norm))
        return norm

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The held-out loss, and what it means for the run: the best so far, or time to stop."""
        with self.compute_loss_context_manager():
            loss = held_out_loss(self._applied.model, self._head, self._held_out_batches())
        check_held_out(self.state.global_step, loss)
        metrics = {f"{metric_key_prefix}_loss": loss}
        self._progress.note_evaluation(self.state.global_step, loss)
        self.log(dict(metrics))
        self._emit(eval_loss=loss)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        best = self._progress.best_step == self.state.global_step
        if self._settings.keep_best and best and self.state.global_step:
            self.control.should_save = True
        patience = self._settings.patience
        if patience is not None and self._progress.evaluations_since_best >= patience:
            self.control.should_save = self.control.should_training_stop = True
        return metrics

    def _held_out_batches(self) -> Iterator[dict[str, Tensor]]:
        rows, size = self.eval_dataset, self._settings.batch_size
        for start in range(0, len(rows), size):
            batch = self.data_collator(
                [rows[i] for i in range(start, min(start + size, len(rows)))]
            )
            yield self._prepare_inputs(batch)

    # Keeping what changed.

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with self._checkpoints.writing(self.state.global_step) as folder:
            self._checkpoints.write(
                folder,
                applied=self._applied,
                optimizer=self.optimizer.state_dict(),
                scheduler=self.lr_scheduler.state_dict(),
                progress=self._meter.snapshot(),
            )
            self.state.save_to_json(str(folder / STATE))
        best = self._progress.best_step if self._settings.keep_best else None
        self._checkpoints.prune(best, written=self.state.global_step)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._checkpoints.read_weights(Path(resume_from_checkpoint), self._applied)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        optimizer, scheduler = self._checkpoints.read_optimizer(Path(checkpoint))
        if self._rounding is not None:
            self._rounding.steps_done = self.state.global_step
            with self._rounding.as_float32():
                self.optimizer.load_state_dict(optimizer)
        else:
            self.optimizer.load_state_dict(optimizer)
        self.lr_scheduler.load_state_dict(scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self._checkpoints.read_randomness(Path(checkpoint))

    def _send_telemetry(self) -> None:
        """Nothing about a run is told to anybody."""

    # What a run says. The conductor below calls these.

    def before_step(self) -> None:
        """Note the learning rates of the step that the optimizer is about to take."""
        groups = iter(self.optimizer.param_groups)
        self._rates = {
            "lr": next(groups)["lr"] if self._applied.trained else None,
            "lora_lr": next(groups)["lr"] if self._applied.adapters else None,
        }
        # Rounding at random may leave everything where it was in any one step.
        checks = self._rounding is None and not self._moved
        if checks and any(rate for rate in self._rates.values()):
            parameters = [*self._applied.trained.values(), *self._applied.adapters.values()]
            self._movement = MovementCheck(parameters)

    def after_optimizer(self) -> None:
        """Hold the first step with a learning rate above 0 to having moved something."""
        if self._movement is not None:
            self._movement.check(self.state.global_step + 1)
            self._movement, self._moved = None, True

    def finish_step(self, control: Any) -> None:
        """Decide whether this step is kept, and whether it is the last."""
        step, every = self.state.global_step, self._settings.save_every
        if self._should_stop():
            control.should_save = control.should_training_stop = True
        # The last step is kept in any case: writing the result may fail.
        if (every is not None and step % every == 0) or step == self.state.max_steps:
            control.should_save = True

    def report(self, logs: dict[str, float]) -> None:
        """Tell the watcher of the step that was just logged."""
        if "loss" not in logs:
            return
        loss, self._step_loss = self._step_loss, 0.0
        self._progress.losses.append(loss)
        self._emit(loss=loss, grad_norm=logs.get("grad_norm"), **self._rates)

    def _emit(self, **values: Any) -> None:
        step = TrainStep(step=self.state.global_step, epoch=self.state.epoch or 0.0, **values)
        self._watch(replace(step, **self._meter.measured()))


class _Conductor(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Hands the Trainer's events to the methods above."""

    def __init__(self, trainer: SelectiveTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        self._trainer.before_step()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        self._trainer.after_optimizer()

    def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        self._trainer.finish_step(control)

    def on_log(
        self, args: Any, state: TrainerState, control: Any, logs: Any = None, **named: Any
    ) -> None:
        self._trainer.report(logs or {})


def _collator(applied: Applied, settings: TrainSettings, tokenizer: Any) -> Collator:
    apart = settings.device == "cpu" or settings.packing
    device = torch_device(settings)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.dtype == "bfloat16"):
        apart = apart and keeps_rows_apart(applied.model)
    if settings.packing and not apart:
        raise TrainError(
            "examples packed into one row would see each other in this model",
            "leave --packing out",
        )
    blocks = [p for p in applied.base.parameters() if p.dim() > 1]
    weights = sum(getattr(p, "quant_state", p).shape.numel() for p in blocks)
    config = applied.base.config.get_text_config()
    return Collator(
        pad_token_id=tokenizer.pad_token_id,
        block_weights=weights // config.num_hidden_layers,
        hidden=config.hidden_size,
        # On a GPU a mask of one's own would keep attention from its fastest kernels.
        flat=apart and settings.device == "cpu",
    )


def _name_number_of_experts(config: Any) -> None:
    """Give a mixture's config the name by which TRL 1.16 asks for it; Granite's has another."""
    if hasattr(config, "num_local_experts") and not hasattr(config, "num_experts"):
        config.num_experts = config.num_local_experts


def _arguments(settings: TrainSettings, folder: Path, rows: int) -> SFTConfig:
    epoch_steps = planned_steps(rows, replace(settings, max_steps=None, epochs=1.0))
    steps = planned_steps(rows, settings)
    on_cpu = settings.device == "cpu"
    return SFTConfig(
        output_dir=str(folder),
        use_cpu=on_cpu,
        bf16=settings.dtype == "bfloat16",
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.grad_accum,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.lr if settings.lr else settings.lora_lr,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=int(settings.warmup * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim=settings.optimizer,
        seed=settings.seed,
        data_seed=settings.seed,
        gradient_checkpointing=settings.grad_checkpointing,
        # The data comes tokenized, cut and packed.
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        # By steps in any case: an evaluation then comes before the checkpoint of its step, and
        # none comes where a run is interrupted.
        eval_strategy="no" if settings.eval_data is None else "steps",
        eval_steps=settings.eval_every or epoch_steps,
        save_strategy="no",
        report_to=list(settings.report_to) or "none",
        dataloader_pin_memory=not on_cpu,
    )


def _tokens(inputs: dict[str, Any]) -> int:
    """The tokens of a batch, padding not counted."""
    mask = inputs.get("attention_mask")
    return int(inputs["input_ids"].numel() if mask is None else mask.sum())


def _blocks(model: Any) -> Any:
    """The model's stack of blocks: the longest list of modules in it."""
    stacks = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    return max(stacks, key=len)
