"""What stops a run before it spoils weights or wastes hours."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from spectrum_ft.errors import TrainError, UnsoundRunError

_SAMPLE = 4096


def check_step(step: int, loss: float, grad_norm: float) -> None:
    """Raise `UnsoundRunError` unless the optimizer may take step number `step`.

    It may not with a loss or gradient that is not finite, nor where there is nothing to learn:
    a loss or a gradient of exactly 0.
    """
    if not math.isfinite(loss) or not math.isfinite(grad_norm):
        what = "loss" if not math.isfinite(loss) else "gradient"
        raise UnsoundRunError(
            f"the {what} is not finite at step {step} (loss {loss}, gradient norm {grad_norm}); "
            "the step was not taken",
            "lower --lr, raise --warmup, or look for a damaged example; earlier checkpoints stay",
        )
    if loss == 0.0:
        raise UnsoundRunError(
            f"the loss is exactly 0 at step {step}: nothing is left to learn, or all is masked",
            "check that the examples have answers in them",
        )
    if grad_norm == 0.0:
        raise UnsoundRunError(
            f"the gradient is exactly 0 at step {step}, where the loss is {loss:.4g}",
            "at the first step: does the loss depend on what the plan trains? Later the weights "
            "have run away: lower --lr",
        )


def check_held_out(step: int, loss: float) -> None:
    """Raise `UnsoundRunError` unless the held-out loss after `step` is a number."""
    if not math.isfinite(loss):
        raise UnsoundRunError(
            f"the held-out loss is not finite after step {step} ({loss})",
            "lower --lr, or look for a damaged example; earlier checkpoints stay",
        )


@contextmanager
def memory_explained() -> Iterator[None]:
    """Raise `TrainError` for what torch raises inside when there is not enough memory."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as fault:
        # torch's allocator for the CPU raises no type of its own.
        told = isinstance(fault, torch.OutOfMemoryError | MemoryError)
        if not told and "can't allocate memory" not in str(fault):
            raise
        raise TrainError(
            f"out of memory: {str(fault).splitlines()[0] if str(fault) else 'no reason given'}",
            "lower --batch-size or --max-length, add --grad-checkpointing, or plan with --base nf4",
        ) from fault


class MovementCheck:
    """Whether one optimizer step changed any of the weights that it should.

    Looks at up to 4,096 entries of each parameter, spread over it.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self._before = [_sample(parameter) for parameter in parameters]

    def check(self, step: int) -> None:
        """Raise `UnsoundRunError` if nothing has changed since this was made."""
        pairs = zip(self._before, self._parameters, strict=True)
        if all(torch.equal(before, _sample(parameter)) for before, parameter in pairs):
            raise UnsoundRunError(
                f"step {step} changed none of the weights that train: its updates are smaller "
                "than their precision can hold",
                "use --precision master or stochastic, or a higher --lr",
            )


def _sample(parameter: nn.Parameter) -> Tensor:
    flat = parameter.detach().reshape(-1)
    return flat[:: -(-len(flat) // _SAMPLE)].clone()
