"""Budgets: the largest share that fits, found and not guessed."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scans import one_kind, scan_of
from spectrum_ft.errors import PlanError
from spectrum_ft.memory import TrainingShape, forecasts
from spectrum_ft.planning.budgets import fit_plan, params_budget, vram_budget
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.scans import ScanReport

SIZE = 64 * 64


def model(layers: int = 12) -> ScanReport:
    """Two kinds, of `layers` and of five matrices, and tables outside the blocks."""
    return scan_of(
        one_kind([float((5 * i) % layers) for i in range(layers)])
        + one_kind([float(i) for i in range(5)], "self_attn.q_proj"),
        others=["model.embed_tokens.weight", "lm_head.weight"],
    )


def trained(plan: Plan) -> int:
    assert plan.counts is not None
    return plan.counts.train + plan.counts.lora


@cache
def trained_by_share(layers: int) -> list[int]:
    """How many weights train with each share in steps of 0.5 %."""
    shares = [step / 200 for step in range(1, 201)]
    return [trained(make_plan(model(layers), PlanRequest(share=share)).plan) for share in shares]


@given(limit=st.integers(2, 20), layers=st.integers(4, 30), preset=st.sampled_from(["spectrum"]))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_the_largest_share_that_fits_is_taken(limit: int, layers: int, preset: str) -> None:
    report = model(layers)
    budget = params_budget(limit * SIZE)
    plan = fit_plan(report, PlanRequest(preset=preset), budget).plan
    assert trained(plan) <= limit * SIZE
    # By trial of every share: none that fits takes more.
    counts = trained_by_share(layers)
    assert trained(plan) == max(count for count in counts if count <= limit * SIZE)
    # And the plan is the one of its own share.
    assert plan.policy.share is not None
    again = make_plan(report, PlanRequest(preset=preset, share=plan.policy.share)).plan
    assert again.train == plan.train
    assert (plan.policy.params, again.policy.params) == (limit * SIZE, None)


def test_a_share_is_as_round_as_it_can_be() -> None:
    plan = fit_plan(model(10), PlanRequest(), params_budget(6 * SIZE)).plan
    assert len(plan.train) == 6
    # 4 of 10 are taken from 35 % on and 2 of 5 from 30 % on; with 45 % the next one comes.
    assert plan.policy.share == 0.44


def test_everything_fits_into_enough_and_nothing_into_too_little() -> None:
    assert fit_plan(model(), PlanRequest(), params_budget(10**15)).plan.policy.share == 1.0
    with pytest.raises(PlanError, match="at least 8,192 weights train, more than 8,191"):
        fit_plan(model(), PlanRequest(), params_budget(2 * SIZE - 1))
    with pytest.raises(PlanError, match="nothing fits into 0"):
        params_budget(0)


@pytest.mark.parametrize("preset", ["spectrum-qlora", "hybrid", "random", "reference"])
def test_any_preset_that_takes_a_share_can_be_fitted(preset: str) -> None:
    everything = trained(make_plan(model(), PlanRequest(preset=preset, share=1.0)).plan)
    limit = (
        everything - 1
        if preset != "hybrid"
        else trained(make_plan(model(), PlanRequest(preset=preset, share=0.5)).plan)
    )
    plan = fit_plan(model(), PlanRequest(preset=preset), params_budget(limit)).plan
    assert 0 < trained(plan) <= limit
    assert plan.policy.share is not None
    assert plan.policy.share < 1.0


def test_the_overall_scope_and_extras_are_counted() -> None:
    request = PlanRequest(scope="overall", train_roles=("head",))
    plan = fit_plan(model(), request, params_budget(64_000 + 3 * SIZE)).plan
    assert len(plan.train) == 4


def test_a_memory_budget_holds_by_the_forecast() -> None:
    report = model(12)
    forecast_of = forecasts(report.shapes, TrainingShape(batch_size=1, max_length=16))

    def cost(plan: Plan) -> int:
        return forecast_of(plan).total_bytes

    limit = cost(make_plan(report, PlanRequest(share=0.5)).plan)
    plan = fit_plan(report, PlanRequest(), vram_budget(limit, cost)).plan
    assert cost(plan) <= limit
    assert plan.policy.vram_bytes == limit
    assert plan.policy.share is not None
    assert plan.policy.share >= 0.5
    with pytest.raises(PlanError, match="training takes at least") as caught:
        fit_plan(report, PlanRequest(), vram_budget(1, cost))
    assert "--vram" in str(caught.value.hint)


def test_where_a_larger_share_takes_less_the_whole_is_tried_too() -> None:
    """Adapters on long batches: then everything may fit where the smallest share does not."""
    report = model()

    def falling(plan: Plan) -> int:
        return 100 - len(plan.train)

    plan = fit_plan(report, PlanRequest(preset="hybrid"), vram_budget(90, falling)).plan
    assert plan.policy.share == 1.0


def test_what_a_budget_cannot_decide_is_refused() -> None:
    from spectrum_ft.planning.published import parse_published

    budget = params_budget(SIZE)
    with pytest.raises(PlanError, match="takes no share"):
        fit_plan(model(), PlanRequest(preset="lora"), budget)
    with pytest.raises(PlanError, match="two answers"):
        fit_plan(model(), PlanRequest(share=0.5), budget)
    published = parse_published(b'{"model.layers.0.x": {"snr": 1, "type": "x"}}', "p.json")
    with pytest.raises(PlanError, match="imported result"):
        fit_plan(published, PlanRequest(), budget)
