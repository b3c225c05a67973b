"""What crosses the border of a comparison: its settings, its trials, its record."""

from dataclasses import dataclass, field, fields
from typing import Literal

from spectrum_ft.errors import SpectrumError
from spectrum_ft.records import figures
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.evaluations import EvalSettings, Evaluation
from spectrum_ft.records.rows import Preview, Row, Tabular, part
from spectrum_ft.records.training import TrainRun, TrainSettings

COMPARISON_SCHEMA = "spectrum-ft/comparison@1"
TRIAL_SCHEMA = "spectrum-ft/trial@1"

Purpose = Literal["test", "rate", "pace"]
"""Why a trial was made: for the table, to choose a learning rate, or to time a step."""

Finding = Literal["better", "worse", "no difference shown", "cannot be told"]
"""What a contrast shows of its first arm."""


class CompareError(SpectrumError):
    """A comparison that makes no sense, or that cannot go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """Everything that a comparison holds equal, and what it asks."""

    training: TrainSettings
    """How every trained arm trains, but for its plan, its learning rate and its seed."""
    evaluation: EvalSettings
    """How every arm is evaluated, but for its examples and votes."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """The seeds that every arm with anything random in it is tried with."""
    minutes: float | None = None
    """Minutes of training that every arm gets; None for the same number of steps."""
    match: str | None = None
    """`memory:ARM` or `params:ARM`: arms with a share take as much as that arm does; or None."""
    rates: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Learning rates to choose from, by arm; an arm that is not in it takes the settings' own."""
    validation_share: float = 0.1
    """The share of the training data that learning rates are chosen on, in (0, 0.5]."""
    against: tuple[str, ...] = ()
    """Arms that the candidates are held against, besides those that always are."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise CompareError("seeds must be there, and differ", "give e.g. --seeds 3")
        if self.minutes is not None and not 0.0 < self.minutes < float("inf"):
            raise CompareError(f"--minutes {self.minutes}: not above 0", "give e.g. 10")
        if not 0.0 < self.validation_share <= 0.5:
            raise CompareError(
                f"--validation {self.validation_share}: not in (0, 0.5]", "give e.g. 10%"
            )
        _refuse_owned(self.training, self.evaluation)
        for arm, rates in self.rates.items():
            if not rates or not all(0.0 < rate < float("inf") for rate in rates):
                raise CompareError(f"--lr {arm}: not above 0", "give e.g. 1e-4")


def _refuse_owned(training: TrainSettings, evaluation: EvalSettings) -> None:
    """Raise `CompareError` for settings that a comparison makes itself, or could not show."""
    if training.eval_data or training.patience or training.keep_best or training.eval_every:
        raise CompareError(
            "a comparison evaluates its arms itself, after the last step",
            "leave out the training's held-out data, patience and best checkpoint",
        )
    if evaluation.few_shot or evaluation.votes > 1 or evaluation.examples:
        raise CompareError(
            "solved examples and votes are arms of a comparison",
            "add the arms few-shot:5 or votes:16",
        )
    if {"exact-match", "choice"} <= set(evaluation.metrics):
        raise CompareError(
            "generated answers and choices would both be the accuracy",
            "give one of exact-match and choice",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Where a training run stood after a step."""

    step: int
    """Optimizer steps done."""
    seconds: float
    """Seconds of training until then."""
    loss: float
    """Training loss of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One arm with one seed at one learning rate, in a process of its own."""

    schema: str = TRIAL_SCHEMA
    """Name and version of this layout."""
    arm: str
    """The arm's name."""
    purpose: Purpose
    """Why it was made."""
    seed: int
    """Its seed."""
    lr: float | None
    """The learning rate that was tried; null for an arm that does not train."""
    key: str
    """SHA-256 of all that decides its outcome: model, data, plan and settings."""
    run: TrainRun | None
    """The training; null for an arm that does not train."""
    curve: tuple[CurvePoint, ...]
    """Its course, a point for every step."""
    evaluation: Evaluation | None
    """On the test data; null unless its purpose is `test`."""
    failure: str | None = None
    """Why the training came to nothing, its loss not a number for one; null if it did not."""
    seconds: float
    """Wall-clock seconds of the whole process, loading and evaluation included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean with what is known of its uncertainty."""

    mean: float
    """The mean over the seeds."""
    low: float | None
    """The lower end of its 95 % interval; null where there is no telling."""
    high: float | None
    """The upper end."""
    values: tuple[float, ...]
    """The value of each seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTried:
    """A learning rate that was tried on the validation data."""

    lr: float
    """The rate."""
    loss: float | None
    """The held-out loss that it led to; null if training came to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """What came of an arm."""

    name: str
    """Its name."""
    seeds: tuple[int, ...]
    """The seeds that it was tried with."""
    failed: tuple[int, ...] = ()
    """Those among them with which training came to nothing."""
    lr: float | None
    """The peak learning rate of what trains in full; null where nothing does."""
    lora_lr: float | None
    """The peak learning rate of its adapters; null without."""
    rates: tuple[RateTried, ...]
    """The learning rates that were tried to choose it; empty if it was given."""
    accuracy: Estimate | None
    """The share of correct answers, in [0, 1]: generated ones, else choices; null without."""
    loss: Estimate | None
    """Held-out loss in nats a token; null if not measured."""
    general_loss: Estimate | None
    """Loss on the general text in nats a token; null without one."""
    samples: float | None
    """Mean number of answers sampled for a question; null without generation."""
    seconds: float | None
    """Median seconds of training; null for an arm that does not train."""
    tokens_per_second: float | None
    """Median speed of training; null likewise."""
    peak_memory_bytes: int | None
    """The largest peak memory of training; null likewise."""
    trained: int
    """Weights of the model that train."""
    adapter_weights: int
    """Weights of adapters."""
    total: int | None
    """Weights of the model; null where nothing trains."""
    steps: int | None
    """Optimizer steps; null likewise."""
    result_bytes: int | None
    """Bytes of the result on disk; null likewise."""
    lowest_layer: int | None
    """The lowest block that trains, of the first seed; null where all of it or nothing does."""
    layers: tuple[int, ...]
    """How many matrices train in full in each block, of the first seed; empty if none does."""
    dominated: bool
    """Whether another arm is at least as good in accuracy, memory and time, and better in one;
    memory and time within 2 % count as equal."""
    curves: tuple[tuple[CurvePoint, ...], ...]
    """The course of training, of each seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question that was planned before any result was seen."""

    question: str
    """In words: `Is spectrum-25 better than qlora?`."""
    arm: str
    """The arm that it is about."""
    against: str
    """The arm that it is held against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The answer to a planned question, in one metric."""

    asked: Asked
    """The question."""
    metric: Literal["accuracy", "loss"]
    """What is compared; a lower loss is better."""
    difference: float
    """Mean paired difference, first arm minus second."""
    low: float | None
    """The lower end of its 95 % interval, not corrected; null where it cannot be told."""
    high: float | None
    """The upper end."""
    p: float | None
    """The two-sided p value; null where it cannot be told."""
    p_adjusted: float | None
    """The same, corrected for all planned questions (Holm 1979)."""
    seeds: int
    """Pairs of seeds that it rests on."""
    examples: int
    """Questions of the test data."""
    models_low: float | None
    """The lower end of a 95 % bootstrap interval over examples: of these very models only."""
    models_high: float | None
    """The upper end."""
    finding: Finding
    """What it shows at the corrected 5 % level."""
    reason: str | None = None
    """Why nothing can be told, in words: `from one seed`; null where something can."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison(Tabular):
    """What came of a comparison."""

    schema: str = COMPARISON_SCHEMA
    """Name and version of this layout."""
    source: str
    """The model."""
    settings: CompareSettings
    """What was held equal."""
    arms: tuple[ArmResult, ...]
    """The arms, in the order in which they were named."""
    contrasts: tuple[Contrast, ...]
    """The planned questions in every metric, accuracy first."""
    verdicts: tuple[str, ...]
    """A sentence for each question, and one for the costs; never more than the intervals allow."""
    differences: tuple[str, ...]
    """What differs between the arms besides their plans, and caveats."""
    seconds: float
    """Wall-clock seconds of all trials, those that chose learning rates included."""
    environment: Environment
    """What computed it."""
    command: str
    """The command line, with tokens redacted and the home folder as `~`."""

    def to_rows(self) -> list[Row]:
        """One row for each arm, in the order in which they were named; see `records.rows`."""
        return [_row(arm) for arm in self.arms]

    def contrast_rows(self) -> list[Row]:
        """One row for each planned question in each metric; see `records.rows`."""
        names = [f.name for f in fields(Contrast) if f.name != "asked"]
        return [
            {
                **part("asked", contrast.asked, Asked),
                **{name: getattr(contrast, name) for name in names},
            }
            for contrast in self.contrasts
        ]

    def _preview(self) -> Preview:
        def row(index: int) -> tuple[str, ...]:
            arm = self.arms[index]
            return (
                arm.name,
                f"{len(arm.seeds):,}",
                figures.percent(_mean(arm.accuracy)),
                figures.loss(_mean(arm.loss)),
                figures.size(arm.peak_memory_bytes),
                figures.seconds(arm.seconds),
            )

        return Preview(
            title=f"Comparison on {self.source}: {len(self.arms):,} arms, "
            f"{len(self.settings.seeds):,} seeds",
            columns=("arm", "seeds", "accuracy, %", "held-out loss", "memory", "time"),
            number=len(self.arms),
            row=row,
            numeric=5,
        )


_ESTIMATES = ("accuracy", "loss", "general_loss")
_SERIES = ("seeds", "failed", "rates", "layers", "curves")


def _mean(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.mean


def _row(arm: ArmResult) -> Row:
    row: Row = {"name": arm.name, "seeds": len(arm.seeds), "failed": len(arm.failed)}
    for name in _ESTIMATES:
        row |= part(name, getattr(arm, name), Estimate, leave_out=("values",))
    left = [f.name for f in fields(ArmResult) if f.name not in (*_ESTIMATES, *_SERIES, "name")]
    return row | {name: getattr(arm, name) for name in left}
