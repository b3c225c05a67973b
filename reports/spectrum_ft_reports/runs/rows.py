"""The tables of a finished run, as strings: its course, what moved, its settings."""

from dataclasses import dataclass, fields
from typing import NamedTuple

from spectrum_ft.records.training import TrainSettings
from spectrum_ft.tuning.runs.metrics import Metrics
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.runs.movement import KindMovement
from spectrum_ft_reports.runs.stretches import Stretch, stretches

NONE = "-"
"""What stands where there is nothing to say."""

_MOST_ROWS = 12
"""Lines of the table of a run's course: enough to see where it bends."""

_SAID_ELSEWHERE = {"data", "eval_data", "device", "dtype"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseRow:
    """One line of the table of a run's course: some neighbouring steps."""

    steps: str
    """Which ones: `1-94`."""
    epoch: str
    """Passes over the data after them."""
    loss: str
    """Their mean training loss."""
    held_out: str
    """The held-out loss measured last among them."""
    lr: str
    """The learning rate of the weights that train in full, at the last of them."""
    lora_lr: str
    """The learning rate of the adapters, at the last of them."""
    speed: str
    """Tokens a second."""
    memory: str
    """Peak memory so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedRow:
    """One line of the table of what moved: a kind."""

    kind: str
    """The kind."""
    tensors: str
    """How many tensors of it trained in full."""
    mean: str
    """The share of their weights that moved, on average."""
    lowest: str
    """The smallest share of one."""
    highest: str
    """The largest share of one."""


class SettingRow(NamedTuple):
    """A setting that is not the default."""

    name: str
    """The setting."""
    value: str
    """What it was."""
    default: str
    """What it would have been."""


def course_rows(metrics: Metrics | None) -> tuple[CourseRow, ...]:
    """How a run went, in a few lines; none where that is not known."""
    return tuple(_course_row(s) for s in stretches(metrics, _MOST_ROWS)) if metrics else ()


def _course_row(stretch: Stretch) -> CourseRow:
    def rate(value: float | None) -> str:
        return NONE if value is None else numbers.rate(value)

    one = stretch.first == stretch.last
    speed, memory = stretch.tokens_per_second, stretch.memory_bytes
    return CourseRow(
        steps=f"{stretch.last:,}" if one else f"{stretch.first:,}–{stretch.last:,}",
        epoch=f"{stretch.epoch:.2f}",
        loss=numbers.loss(stretch.loss),
        held_out=NONE if stretch.eval_loss is None else numbers.loss(stretch.eval_loss),
        lr=rate(stretch.lr),
        lora_lr=rate(stretch.lora_lr),
        speed=NONE if speed is None else f"{speed:,.0f}",
        memory=NONE if memory is None else numbers.size(memory),
    )


def moved_row(kind: KindMovement) -> MovedRow:
    """The line of `kind`."""
    return MovedRow(
        kind=printable(kind.kind, 60),
        tensors=f"{kind.tensors:,}",
        mean=f"{100.0 * kind.mean:.1f} %",
        lowest=f"{100.0 * kind.lowest:.1f} %",
        highest=f"{100.0 * kind.highest:.1f} %",
    )


def setting_rows(settings: TrainSettings) -> tuple[SettingRow, ...]:
    """What differs from the defaults, besides what the contract says."""
    defaults = TrainSettings(data=settings.data)
    rows = []
    for name in (f.name for f in fields(TrainSettings) if f.name not in _SAID_ELSEWHERE):
        value, default = getattr(settings, name), getattr(defaults, name)
        if value != default:
            rows.append(SettingRow(_option(name), _told(value), _told(default)))
    return tuple(rows)


def _option(name: str) -> str:
    """The option of `train` that sets the field `name`."""
    return "--column" if name == "columns" else f"--{name.replace('_', '-')}"


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        value = ", ".join(f"{name}={stands_for}" for name, stands_for in value.items())
    elif isinstance(value, tuple):
        value = ", ".join(map(str, value))
    elif isinstance(value, float):
        value = f"{value:g}"
    return printable(str(value), 120) if value not in (None, "") else "none"
