"""How far a run has come: what has to survive an interruption besides weights."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from spectrum_ft.tuning.process_memory import peak_bytes


@dataclass(slots=True, kw_only=True)
class Progress:
    """Sums over all processes that have taken part in a run so far."""

    losses: list[float] = field(default_factory=list)
    """Training loss of every step, in nats."""
    tokens: int = 0
    """Tokens that passed through the model."""
    seconds: float = 0.0
    """Seconds of training in the processes before this one."""
    peak_memory_bytes: int = 0
    """The largest peak of them."""
    best_loss: float | None = None
    """The lowest held-out loss."""
    best_step: int | None = None
    """The step that it was measured after."""
    last_eval_loss: float | None = None
    """The held-out loss that was measured last."""
    last_eval_step: int | None = None
    """The step that it was measured after."""
    evaluations_since_best: int = 0
    """Evaluations without a lower one."""

    def note_evaluation(self, step: int, loss: float) -> None:
        """Add the held-out loss after `step`."""
        self.last_eval_loss, self.last_eval_step = loss, step
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss, self.best_step, self.evaluations_since_best = loss, step, 0
        else:
            self.evaluations_since_best += 1


class Meter:
    """Measures this process's part of a run, from now on."""

    def __init__(self, progress: Progress, device: torch.device) -> None:
        self.progress = progress
        """What it adds to."""
        self._device = device
        self._started = time.monotonic()

    def measured(self) -> dict[str, Any]:
        """Tokens, seconds and peak memory so far, as a `TrainStep` holds them."""
        peak = max(self.progress.peak_memory_bytes, peak_bytes(self._device))
        seconds = self.progress.seconds + time.monotonic() - self._started
        return {
            "tokens": self.progress.tokens,
            "seconds": round(seconds, 3),
            "memory_bytes": peak,
        }

    def snapshot(self) -> Progress:
        """The progress as the next process of this run should take it up."""
        now = self.measured()
        return replace(self.progress, seconds=now["seconds"], peak_memory_bytes=now["memory_bytes"])
