"""What crosses the border of a training run: its settings, its contract, its steps, its record."""

import math
from dataclasses import dataclass, field
from typing import Literal

from spectrum_ft.errors import SpectrumError
from spectrum_ft.records import figures
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.rows import Preview, Row, Tabular

RUN_SCHEMA = "spectrum-ft/run@1"
START_SCHEMA = "spectrum-ft/run-start@1"

Precision = Literal["master", "stochastic", "as-is"]
Dtype = Literal["auto", "float32", "bfloat16"]
TrainOn = Literal["completions", "everything"]


class SettingsError(SpectrumError):
    """A training setting that makes no sense, or that cannot be honoured here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Everything that a training run is asked to do, besides the model and the plan."""

    data: str
    """The training data: a file, or a data set's id on the Hub."""
    eval_data: str | None = None
    """The held-out data, likewise; None for no evaluation."""
    columns: dict[str, str] = field(default_factory=dict)
    """The standard field that each renamed column of the data stands for."""
    train_on: TrainOn = "completions"
    """Whether the loss is taken on completions (assistant turns) only, or on every token."""
    max_length: int = 1024
    """The longest example in tokens, at least 2; longer ones are cut at their end."""
    packing: bool = False
    """Whether several short examples share a row, without seeing each other."""
    lr: float = 2e-5
    """Peak learning rate of the weights that train in full."""
    lora_lr: float = 2e-4
    """Peak learning rate of the adapters."""
    weight_decay: float = 0.0
    """Decoupled weight decay of what trains in full: it pulls to 0, not to the base."""
    batch_size: int = 4
    """Rows a forward pass takes."""
    grad_accum: int = 1
    """Forward passes an optimizer step takes."""
    epochs: float = 1.0
    """Passes over the data, unless `max_steps` says otherwise."""
    max_steps: int | None = None
    """Optimizer steps; None to go by epochs."""
    optimizer: str = "adamw_torch"
    """The optimizer, by transformers' name."""
    scheduler: str = "cosine"
    """The learning rate's schedule, by transformers' name."""
    warmup: float = 0.03
    """The share of all steps in which the learning rate rises, in [0, 1)."""
    max_grad_norm: float = 1.0
    """The norm that gradients are clipped to, above 0."""
    precision: Precision = "master"
    """How trained weights are kept: float32 masters, 16 bits with stochastic rounding, or as is."""
    dtype: Dtype = "auto"
    """What frozen weights are kept and multiplied in; auto: bfloat16 on a GPU, float32 on a CPU."""
    grad_checkpointing: bool = False
    """Whether activations are computed again in the backward pass instead of kept."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What trains; auto: a GPU if there is one."""
    seed: int = 0
    """The seed of adapters, dropout and the order of the data."""
    save_every: int | None = None
    """Steps between checkpoints; None for one only where the run is interrupted or ends."""
    keep: int = 2
    """How many checkpoints stay, the best one not counted; at least 1."""
    eval_every: int | None = None
    """Steps between evaluations; None for one at the end of each epoch."""
    patience: int | None = None
    """Evaluations without a better held-out loss after which training stops; None for never."""
    keep_best: bool = False
    """Whether the result is the checkpoint with the best held-out loss instead of the last one."""
    report_to: tuple[str, ...] = ()
    """Trackers that transformers reports to: tensorboard, wandb, trackio."""

    def __post_init__(self) -> None:
        for name, smallest in _SMALLEST.items():
            value = getattr(self, name)
            if value is not None and not value >= smallest:
                option = "--" + name.replace("_", "-")
                raise SettingsError(f"{option} {value}: too small", f"give at least {smallest}")
        for name in ("lr", "lora_lr", "epochs", "max_grad_norm"):
            if not 0.0 < getattr(self, name) < float("inf"):
                option = "--" + name.replace("_", "-")
                raise SettingsError(
                    f"{option} {getattr(self, name)}: not above 0", "give a number above 0"
                )
        if not math.isfinite(self.weight_decay):
            raise SettingsError(f"--weight-decay {self.weight_decay}: not a number", "give 0")
        if not 0.0 <= self.warmup < 1.0:
            raise SettingsError(f"--warmup {self.warmup}: not in [0, 1)", "give a share of the run")
        if self.eval_data is None and (self.patience or self.keep_best or self.eval_every):
            raise SettingsError(
                "early stopping, the best checkpoint and evaluations need held-out data",
                "give it with --eval, or leave those options out",
            )


CHANGE_NO_WEIGHT = frozenset({"report_to", "keep", "save_every"})
"""The settings that may differ between two parts of one run, or two trials of one kind."""

_SMALLEST = {
    "max_length": 2,
    "batch_size": 1,
    "grad_accum": 1,
    "max_steps": 1,
    "save_every": 1,
    "keep": 1,
    "eval_every": 1,
    "patience": 1,
    "weight_decay": 0,
    "seed": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """What became of a data set on its way into training."""

    source: str
    """The file or Hub id."""
    digest: str
    """SHA-256 of the file, or what identifies the Hub's version."""
    shape: str
    """How its rows were read, in words for the user."""
    rows: int
    """Rows read."""
    kept: int
    """Rows that train."""
    truncated: int
    """Kept rows whose end was cut off."""
    dropped: int
    """Rows with nothing to learn."""
    tokens: int
    """Tokens of the kept rows."""
    learned_tokens: int
    """Tokens among them that the loss is taken on."""
    longest: int
    """Tokens of the longest row before it was cut."""
    last_answer_only: int = 0
    """Kept conversations of which only the last answer is learned, because the chat template
    rewrites earlier turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a run is about to do, proved against the loaded model before its first step."""

    source: str
    """The model."""
    device: str
    """What trains, e.g. `cpu` or `cuda:0 NVIDIA H100`."""
    dtype: str
    """What frozen weights are kept in, besides the quantized ones."""
    precision: Precision
    """How trained weights are kept."""
    trained_tensors: int
    """Tensors of the checkpoint whose every entry is updated."""
    trained: int
    """Weights in them."""
    adapters: int
    """Matrices that carry an adapter."""
    adapter_weights: int
    """Weights of the adapters."""
    quantized: int
    """Weights kept in 4 or 8 bits, counted as the checkpoint stores them."""
    frozen: int
    """Weights that stay as they are, in 16 or 32 bits."""
    total: int
    """Weights of the model; trained + quantized + frozen."""
    base: str
    """How the rest is kept: as-is, nf4 or int8."""
    lowest_layer: int | None
    """The lowest block that the backward pass reaches; None where it goes through all of them."""
    layers: int
    """The model's blocks."""
    steps: int
    """Optimizer steps that the run takes in all."""
    forecast: Forecast | None
    """The memory that training should take; None where it cannot be told."""
    available_bytes: int
    """The memory that there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep:
    """One optimizer step, or one evaluation, as metrics.jsonl keeps it."""

    step: int
    """The step just done, from 1."""
    epoch: float
    """Passes over the data so far."""
    loss: float | None = None
    """Mean training loss of the step's learned tokens, in nats; null for an evaluation."""
    grad_norm: float | None = None
    """Norm of all gradients before clipping."""
    lr: float | None = None
    """Learning rate of the weights that train in full in this step; null where none do."""
    lora_lr: float | None = None
    """Learning rate of the adapters in this step; null where there are none."""
    eval_loss: float | None = None
    """Held-out loss, in nats; null for a training step."""
    tokens: int | None = None
    """Tokens that passed through the model so far, over all of them."""
    seconds: float | None = None
    """Wall-clock seconds of training so far, over all processes that took part."""
    memory_bytes: int | None = None
    """Peak memory so far: the process's on a CPU, the allocator's on a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """What a run was started with; the same is needed to resume it."""

    schema: str = START_SCHEMA
    """Name and version of this layout."""
    run_id: str
    """What tells its checkpoints from another run's: 16 hex digits."""
    source: str
    """The model as it was named."""
    model_digest: str
    """What tells the base's weights from others, see `tuning.contracts.model_digest`."""
    plan: Plan
    """What trains."""
    settings: TrainSettings
    """How, with device and dtype decided."""
    data_digest: str
    """SHA-256 over the tokens and labels of the training data."""
    eval_digest: str | None
    """The same of the held-out data; null without."""
    command: str
    """The command line, with tokens redacted and the home folder as `~`."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TrainRun(Tabular):
    """What a finished run did."""

    schema: str = RUN_SCHEMA
    """Name and version of this layout."""
    source: str
    """The model as it was named."""
    base_folder: str
    """The folder whose weights it started from: the model's own, or its cached conversion."""
    plan: Plan
    """What trained."""
    settings: TrainSettings
    """How."""
    contract: Contract
    """What was checked before the first step."""
    data: DataSummary
    """The training data."""
    eval_data: DataSummary | None
    """The held-out data."""
    quantized: tuple[str, ...]
    """The matrices that were kept in 4 or 8 bits, by checkpoint name."""
    adapted: dict[str, str]
    """The model's module for each matrix with an adapter, by checkpoint name."""
    steps: int
    """Optimizer steps done."""
    result_step: int
    """The step whose weights are the result."""
    first_loss: float
    """Training loss of the first step."""
    last_loss: float
    """Mean training loss of the last tenth of the steps."""
    eval_loss: float | None
    """Held-out loss of the result; null without held-out data."""
    moved: float
    """The share of the trained weights that differ from the base, as precisely as they are kept."""
    moved_tensors: dict[str, float] = field(default_factory=dict)
    """The same share of each tensor that trains in full, by checkpoint name; empty where only
    adapters train, and in records of older versions."""
    seconds: float
    """Wall-clock seconds of training, over all processes that took part."""
    tokens: int
    """Tokens that passed through the model, over all of them."""
    peak_memory_bytes: int
    """The largest peak memory of any of them."""
    imported_memory_bytes: int
    """Memory before the model was loaded, what libraries and data take; forecasts leave it out."""
    result_bytes: int
    """Bytes of the result on disk: trained tensors and adapters."""
    environment: Environment
    """What computed it."""
    command: str
    """The command line, with tokens redacted and the home folder as `~`."""

    def to_rows(self) -> list[Row]:
        """One row: what was trained, how, and what came of it; see `records.rows`."""
        settings, contract = self.settings, self.contract
        return [
            {
                "source": self.source,
                "plan.policy.name": self.plan.policy.name,
                "plan.policy.share": self.plan.policy.share,
                "plan.policy.score": self.plan.policy.score,
                **{f"settings.{name}": getattr(settings, name) for name in _SETTINGS_IN_ROWS},
                **{f"contract.{name}": getattr(contract, name) for name in _CONTRACT_IN_ROWS},
                **{name: getattr(self, name) for name in _FIGURES_IN_ROWS},
            }
        ]

    def _preview(self) -> Preview:
        rows = (
            ("steps", f"{self.steps:,}"),
            ("first loss", figures.loss(self.first_loss)),
            ("last loss", figures.loss(self.last_loss)),
            ("held-out loss", figures.loss(self.eval_loss)),
            ("weights that moved, %", figures.percent(self.moved)),
            ("time", figures.seconds(self.seconds)),
            ("peak memory", figures.size(self.peak_memory_bytes)),
        )
        return Preview(
            title=f"Run of {self.plan.policy.name} on {self.source}",
            columns=("what", "figure"),
            number=len(rows),
            row=rows.__getitem__,
            numeric=1,
        )


_SETTINGS_IN_ROWS = (
    *("data", "eval_data", "train_on", "max_length", "packing", "lr", "lora_lr", "weight_decay"),
    *("batch_size", "grad_accum", "optimizer", "scheduler", "warmup", "precision", "seed"),
)
_CONTRACT_IN_ROWS = (
    *("device", "dtype", "trained_tensors", "trained", "adapters", "adapter_weights"),
    *("quantized", "frozen", "total", "base", "lowest_layer", "layers"),
)
_FIGURES_IN_ROWS = (
    *("steps", "result_step", "first_loss", "last_loss", "eval_loss", "moved", "seconds"),
    *("tokens", "peak_memory_bytes", "imported_memory_bytes", "result_bytes"),
)
