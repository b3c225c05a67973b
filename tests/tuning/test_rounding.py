"""Stochastic rounding: right on average, still where there is nothing to round."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spectrum_ft.tuning.rounding import StochasticRounding, round_stochastically

BFLOAT16 = torch.finfo(torch.bfloat16)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every_bfloat16() -> Tensor:
    """All 65,536 patterns of bits, as bfloat16."""
    return torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16)


def test_what_bfloat16_holds_comes_back_unchanged() -> None:
    values = every_bfloat16()
    values = values[~values.isnan()]
    rounded = round_stochastically(values.float(), generator())
    assert torch.equal(rounded.view(torch.int16), values.view(torch.int16))
    assert rounded.isinf().sum() == 2
    assert round_stochastically(torch.tensor([math.nan]), generator()).isnan().all()


def test_values_go_to_one_of_their_two_neighbours() -> None:
    values = (
        torch.randn(10_000, generator=generator(1))
        * 10 ** torch.randint(-30, 30, (10_000,), generator=generator(2)).float()
    )
    rounded = round_stochastically(values, generator()).float()
    toward_zero = (values.view(torch.int32) & -(1 << 16)).view(torch.float32)
    away = ((values.view(torch.int32) & -(1 << 16)) + (1 << 16)).view(torch.float32)
    assert ((rounded == toward_zero) | (rounded == away)).all()
    assert 0.4 < (rounded == away).float().mean() < 0.6


@pytest.mark.parametrize("value", [1.0 + 1 / 1024, -0.02003, 3e-5, 1e-39, -7777.7])
def test_the_mean_of_many_roundings_is_the_value(value: float) -> None:
    count = 200_000
    exact = torch.full((count,), value)
    rounded = round_stochastically(exact, generator()).double()
    low, high = rounded.min(), rounded.max()
    # A mean of `count` draws between two neighbours: five standard errors at most, each at most
    # half the gap / sqrt(count).
    bound = 5 * 0.5 * (high - low) / math.sqrt(count)
    assert low < exact[0].double() < high
    assert abs(rounded.mean() - exact[0].double()) < bound


def test_the_chance_to_go_up_is_the_distance_from_below() -> None:
    # Between 1 and 1 + 2^-7; a quarter of the way up.
    rounded = round_stochastically(torch.full((100_000,), 1 + 2**-9), generator())
    share = (rounded > 1).float().mean().item()
    assert share == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / 100_000))


def test_beyond_the_largest_bfloat16_lies_only_infinity() -> None:
    # float32 reaches a little further; rounding to nearest goes to infinity there as well.
    largest = torch.full((1000,), torch.finfo(torch.float32).max)
    assert largest.to(torch.bfloat16).isinf().all()
    rounded = round_stochastically(torch.cat([largest, -largest]), generator())
    assert (rounded.isinf() | (rounded.abs() == BFLOAT16.max)).all()
    assert torch.equal(rounded.sign().float(), torch.cat([largest, -largest]).sign())


def test_shape_is_kept_where_memory_is_not_contiguous() -> None:
    values = torch.randn(6, 4, generator=generator()).t()
    rounded = round_stochastically(values, generator())
    assert rounded.shape == (4, 6)
    assert torch.allclose(rounded.float(), values, rtol=2**-7, atol=0)


def trained(steps: int, *, seed: int = 0, how: str = "stochastic", optimizer: Any = None) -> Tensor:
    """Weights of 0.02 after steps of 1e-5 downwards, in bfloat16."""
    weight = nn.Parameter(torch.full((4000,), 0.02, dtype=torch.bfloat16))
    made = (optimizer or torch.optim.SGD)([weight], lr=1e-5)
    if how == "stochastic":
        StochasticRounding(made, [weight], seed)
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        made.step()
    return weight.detach()


def test_small_steps_move_weights_on_average_where_rounding_to_nearest_does_not() -> None:
    start = trained(0).double()
    # The gap between neighbours of 0.02 is 2^-13 = 1.2e-4: 1e-5 is lost when rounded to nearest.
    assert torch.equal(trained(20, how="nearest").double(), start)
    moved = (start - trained(20).double()).mean().item()
    # The mean of 4,000 weights, each 20 steps of a variance below 1e-5 * 2^-13.
    bound = 5 * math.sqrt(20 * 1e-5 * 2**-13 / 4000)
    assert moved == pytest.approx(20 * 1e-5, abs=bound)


def test_a_step_is_the_same_for_the_same_seed_and_number() -> None:
    assert torch.equal(trained(3, seed=1), trained(3, seed=1))
    assert not torch.equal(trained(3, seed=1), trained(3, seed=2))


def test_each_step_and_each_parameter_has_random_numbers_of_its_own() -> None:
    first, second = (
        nn.Parameter(torch.full((1000,), 0.02, dtype=torch.bfloat16)) for _ in range(2)
    )
    optimizer = torch.optim.SGD([first, second], lr=1e-5)
    rounding = StochasticRounding(optimizer, [first, second], 0)

    def step() -> tuple[Tensor, Tensor]:
        for parameter in (first, second):
            parameter.data = torch.full((1000,), 0.02, dtype=torch.bfloat16)
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        return first.detach().clone(), second.detach().clone()

    one, other = step()
    assert not torch.equal(one, other)
    assert not torch.equal(one, step()[0])
    rounding.steps_done = 0
    again = step()
    assert torch.equal(again[0], one)
    assert torch.equal(again[1], other)


def test_no_other_random_numbers_are_drawn() -> None:
    before = torch.random.get_rng_state()
    trained(2)
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_are_bfloat16_between_steps_and_float32_inside() -> None:
    weight = nn.Parameter(torch.full((10,), 0.02, dtype=torch.bfloat16))
    master = nn.Parameter(torch.full((10,), 0.02))
    seen = []
    optimizer = torch.optim.SGD([weight, master], lr=1e-5)
    StochasticRounding(optimizer, [weight, master], 0)

    def look(*_: Any) -> None:
        seen.append([(p.dtype, p.grad.dtype) for p in (weight, master) if p.grad is not None])

    optimizer.register_step_pre_hook(look)  # hooks are called in their order
    weight.grad, master.grad = torch.ones_like(weight), torch.ones_like(master)
    optimizer.step()
    assert seen == [[(torch.float32, torch.float32)] * 2]
    assert weight.dtype == torch.bfloat16
    assert master.dtype == torch.float32
    assert weight.grad is None


@pytest.mark.parametrize(
    "kind",
    [torch.optim.AdamW, torch.optim.RMSprop],
    ids=lambda kind: str(kind.__name__),
)
def test_an_optimizers_state_stays_float32(kind: Any) -> None:
    weight = nn.Parameter(torch.full((10,), 0.02, dtype=torch.bfloat16))
    optimizer = kind([weight], lr=1e-5)
    StochasticRounding(optimizer, [weight], 0)
    for _ in range(2):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    state = optimizer.state_dict()["state"][0]
    shaped = [value for value in state.values() if isinstance(value, Tensor) and value.dim()]
    assert shaped
    assert {value.dtype for value in shaped} == {torch.float32}


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    weight = nn.Parameter(torch.full((10,), 0.02, dtype=torch.bfloat16))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    StochasticRounding(optimizer, [weight], 0)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.full((10,), 0.02, dtype=torch.bfloat16))


def test_a_state_is_loaded_as_float32() -> None:
    weight = nn.Parameter(torch.full((10,), 0.02, dtype=torch.bfloat16))
    optimizer = torch.optim.AdamW([weight], lr=1e-5)
    rounding = StochasticRounding(optimizer, [weight], 0)
    weight.grad = torch.full_like(weight, 1 / 3)
    optimizer.step()
    state = optimizer.state_dict()
    other = torch.optim.AdamW([weight], lr=1e-5)
    with rounding.as_float32():
        other.load_state_dict(state)
    assert weight.dtype == torch.bfloat16
    loaded = other.state_dict()["state"][0]
    assert torch.equal(loaded["exp_avg"], state["state"][0]["exp_avg"])
    assert loaded["exp_avg"].dtype == torch.float32
