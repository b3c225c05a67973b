"""What stops a run, and what does not."""

import math

import pytest
import torch
from torch import nn

from spectrum_ft.errors import TrainError
from spectrum_ft.tuning.guarding import MovementCheck, check_step, memory_explained
from spectrum_ft.tuning.rounding import StochasticRounding


@pytest.mark.parametrize(
    ("loss", "norm", "message"),
    [
        (math.nan, 1.0, "the loss is not finite at step 7"),
        (math.inf, 1.0, "the loss is not finite at step 7"),
        (2.0, math.nan, "the gradient is not finite at step 7"),
        (2.0, -math.inf, "the gradient is not finite at step 7"),
        (math.nan, math.nan, "the loss is not finite"),
        (0.0, 1.0, "the loss is exactly 0 at step 7"),
        (-0.0, 0.0, "the loss is exactly 0 at step 7"),
        (2.0, 0.0, "gradient is exactly 0 at step 7"),
    ],
)
def test_a_step_that_would_do_harm_is_not_taken(loss: float, norm: float, message: str) -> None:
    with pytest.raises(TrainError, match=message) as caught:
        check_step(7, loss, norm)
    assert caught.value.hint


@pytest.mark.parametrize(("loss", "norm"), [(2.0, 1.0), (1e-30, 1e-30), (-0.5, 1e30)])
def test_other_steps_are_taken(loss: float, norm: float) -> None:
    check_step(1, loss, norm)


def weights(count: int = 2, dtype: torch.dtype = torch.bfloat16) -> list[nn.Parameter]:
    chance = torch.Generator().manual_seed(0)
    return [
        nn.Parameter((0.02 * torch.randn(96, 64, generator=chance)).to(dtype)) for _ in range(count)
    ]


def step(parameters: list[nn.Parameter], lr: float, *, rounding: bool = False) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0)
    if rounding:
        StochasticRounding(optimizer, parameters, seed=0)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def test_bfloat16_weights_that_a_tiny_rate_does_not_move_are_noticed() -> None:
    parameters = weights()
    with torch.no_grad():
        # Those near 0 would move even so.
        parameters = [nn.Parameter(p.sign() * p.abs().clamp_min(0.005)) for p in parameters]
    check = MovementCheck(parameters)
    step(parameters, 1e-8)
    with pytest.raises(TrainError, match="step 3 changed none of the weights") as caught:
        check.check(3)
    assert "--precision master" in str(caught.value.hint)


def test_masters_are_moved_by_the_same_rate() -> None:
    parameters = weights(dtype=torch.float32)
    check = MovementCheck(parameters)
    step(parameters, 1e-8)
    check.check(1)


def test_one_moved_parameter_is_enough() -> None:
    parameters = weights(3)
    check = MovementCheck(parameters)
    with torch.no_grad():
        parameters[2][95, 63] += 1.0
        parameters[2][0, 0] += 1.0
    check.check(1)


@pytest.mark.parametrize("size", [1, 2, 4095, 4096, 4097, 8191, 100_000])
def test_a_parameter_of_any_size_is_looked_at_all_over(size: int) -> None:
    parameter = nn.Parameter(torch.zeros(size))
    check = MovementCheck([parameter])
    with torch.no_grad():
        parameter[size // 2 :] += 1.0
    check.check(1)


def test_a_number_on_its_own_is_a_parameter_too() -> None:
    parameter = nn.Parameter(torch.tensor(1.0))
    check = MovementCheck([parameter])
    with pytest.raises(TrainError):
        check.check(1)


def test_weights_that_become_nan_count_as_moved_and_stay_so() -> None:
    parameter = nn.Parameter(torch.full((8,), math.nan))
    check = MovementCheck([parameter])
    # Nothing is equal to NaN, so this check cannot notice: the guard of the loss has by then.
    check.check(1)


def test_memory_that_runs_out_is_explained_and_other_faults_are_not_touched() -> None:
    with pytest.raises(TrainError, match="out of memory") as caught, memory_explained():
        torch.empty(2**60)
    assert "--batch-size" in str(caught.value.hint)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), memory_explained():
        torch.ones(2, 3) @ torch.ones(2, 3)
