"""What has been seen of a training run so far, in the figures that its watcher wants."""

from collections import deque
from statistics import fmean

from spectrum_ft.records.training import TrainStep

_RECENT = 20
"""Steps that means and rates are taken over: enough to be steady, few enough to be of now."""


class Course:
    """The course of a run of `steps` steps, from the first step that it is told of."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        """Optimizer steps that the run takes in all."""
        self.losses: list[float] = []
        """Training loss of every step seen, in nats."""
        self.last: TrainStep | None = None
        """The training step seen last."""
        self.evaluated: TrainStep | None = None
        """The evaluation seen last."""
        self.best: TrainStep | None = None
        """The evaluation with the lowest held-out loss of those seen."""
        self._recent: deque[TrainStep] = deque(maxlen=_RECENT + 1)

    def add(self, step: TrainStep) -> None:
        """Take note of a step or an evaluation."""
        if step.eval_loss is not None:
            self.evaluated = step
            lowest = self.best.eval_loss if self.best else None
            if lowest is None or step.eval_loss < lowest:
                self.best = step
        if step.loss is not None:
            self.losses.append(step.loss)
            self.last = step
            self._recent.append(step)

    @property
    def done(self) -> int:
        """The last step seen; 0 before the first."""
        return self.last.step if self.last else 0

    @property
    def mean_loss(self) -> float | None:
        """The mean training loss of the most recent steps; None before the first."""
        return fmean(self.losses[-_RECENT:]) if self.losses else None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens a second over the most recent steps; None until there are two of them."""
        return self._rate("tokens")

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last step at the most recent pace; None until that can be told."""
        pace = self._rate("step")
        return (self.steps - self.done) / pace if pace else None

    def _rate(self, what: str) -> float | None:
        """How much `what` grew a second over the most recent steps."""
        if len(self._recent) < 2:
            return None
        first, last = self._recent[0], self._recent[-1]
        seconds = (last.seconds or 0.0) - (first.seconds or 0.0)
        grown: float = (getattr(last, what) or 0) - (getattr(first, what) or 0)
        return grown / seconds if seconds > 0.0 else None
