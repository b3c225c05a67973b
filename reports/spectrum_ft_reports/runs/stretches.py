"""The course of a run in a few stretches of neighbouring steps, for a table or a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from spectrum_ft.records.training import TrainStep
from spectrum_ft.tuning.runs.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Neighbouring steps, taken together."""

    first: int
    """The first of them."""
    last: int
    """The last of them."""
    epoch: float
    """Passes over the data after it."""
    loss: float
    """Their mean training loss, in nats."""
    eval_loss: float | None
    """The held-out loss that was measured last among them; None where none was."""
    lr: float | None
    """The learning rate of the weights that train in full, at the last of them."""
    lora_lr: float | None
    """The learning rate of the adapters, at the last of them."""
    tokens_per_second: float | None
    """Tokens a second, evaluations left out; None where no time has passed."""
    memory_bytes: int | None
    """Peak memory up to the last of them."""


def stretches(metrics: Metrics, most: int) -> tuple[Stretch, ...]:
    """The steps of a run in at most `most` stretches, as equally long as can be."""
    steps = metrics.steps
    count = min(most, len(steps))
    bounds = [place * len(steps) // count for place in range(count + 1)] if count else []
    clock = _working_seconds(steps, metrics.evaluations)
    found = []
    for begin, end in pairwise(bounds):
        members = steps[begin:end]
        after = members[-1].step if end < len(steps) else None
        measured = _last_measured(metrics.evaluations, steps[begin - 1].step if begin else 0, after)
        start = max(begin - 1, 0)  # what the first step takes is not training alone
        found.append(
            Stretch(
                first=members[0].step,
                last=members[-1].step,
                epoch=members[-1].epoch,
                loss=fmean(step.loss for step in members if step.loss is not None),
                eval_loss=measured,
                lr=members[-1].lr,
                lora_lr=members[-1].lora_lr,
                tokens_per_second=_rate(steps[start], members[-1], clock[start], clock[end - 1]),
                memory_bytes=members[-1].memory_bytes,
            )
        )
    return tuple(found)


def _last_measured(evaluations: Sequence[TrainStep], after: int, until: int | None) -> float | None:
    """The loss of the last evaluation after step `after`, up to step `until` if there is one."""
    among = [e.eval_loss for e in evaluations if after < e.step and (not until or e.step <= until)]
    return among[-1] if among else None


def _working_seconds(
    steps: Sequence[TrainStep], evaluations: Sequence[TrainStep]
) -> list[float | None]:
    """Seconds up to each step, without those that evaluations before it took."""
    ends = {e.step: e.seconds for e in evaluations if e.seconds is not None}
    lost, seconds = 0.0, list[float | None]()
    for step in steps:
        seconds.append(None if step.seconds is None else step.seconds - lost)
        end = ends.get(step.step)
        if end is not None and step.seconds is not None:
            lost += max(0.0, end - step.seconds)
    return seconds


def _rate(
    first: TrainStep, last: TrainStep, begun: float | None, ended: float | None
) -> float | None:
    """Tokens a second from the end of one step to that of another; None if that makes no sense."""
    if begun is None or ended is None or first.tokens is None or last.tokens is None:
        return None
    seconds, tokens = ended - begun, last.tokens - first.tokens
    return tokens / seconds if seconds > 0.0 and tokens > 0 else None
