"""Shares that are not given but found: the largest one that a budget allows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from spectrum_ft.errors import PlanError
from spectrum_ft.planning.making import Planned, plans_by_share
from spectrum_ft.planning.presets import PRESETS
from spectrum_ft.planning.requests import PlanRequest
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.scans import ScanReport

STEPS = 10_000
"""Shares are tried in steps of 0.01 %, fine enough for kinds of ten thousand members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit on what a plan may cost."""

    name: Literal["params", "vram_bytes"]
    """What is limited: the field of `PlanPolicy` that records the limit."""
    limit: int
    """The most that it may cost, above 0."""
    cost: Callable[[Plan], int]
    """What a plan costs, in the same unit.

    Taken to go one way with the share. That is up, but for adapters on what does not train: on long
    batches the activations of an adapter can cost more than a matrix that trains instead.
    """

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise PlanError(f"nothing fits into {self.limit:,}", "give a budget above 0")


def params_budget(limit: int) -> Budget:
    """At most `limit` weights that are updated, those of adapters included."""
    return Budget(name="params", limit=limit, cost=_trained_weights)


def vram_budget(limit: int, forecast_bytes: Callable[[Plan], int]) -> Budget:
    """At most `limit` bytes of the memory that `forecast_bytes` says a plan takes to train."""
    return Budget(name="vram_bytes", limit=limit, cost=forecast_bytes)


def fit_plan(report: ScanReport, request: PlanRequest, budget: Budget) -> Planned:
    """The plan with the largest common share that `budget` allows, found by bisection.

    The share is as round a number as selects the same matrices. Raises `PlanError`, with figures,
    where even the smallest share costs more; where the preset takes no share, or the request gives
    one; and where shapes are unknown.
    """
    if request.share is not None:
        raise PlanError("a share and a budget are two answers", "give one of them")
    if PRESETS[request.preset].policy is None:
        raise PlanError(
            f"the preset {request.preset} takes no share that a budget could decide",
            "leave the budget out, or choose another preset",
        )
    if report.model.fingerprint is None:
        raise PlanError(
            "an imported result does not say how large its matrices are",
            "scan the model itself, or give a share",
        )
    plan_for = plans_by_share(report, request)

    def fits(step: int) -> bool:
        return budget.cost(plan_for(step / STEPS).plan) <= budget.limit

    if fits(STEPS):
        planned = plan_for(1.0)
    elif fits(1):
        low, high = 1, STEPS  # low fits, high does not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        planned = _rounded(plan_for, low)
    else:
        least = min(budget.cost(plan_for(share).plan) for share in (1 / STEPS, 1.0))
        raise _too_small(budget, least)
    policy = planned.plan.policy
    if budget.name == "params":
        policy = replace(policy, params=budget.limit)
    else:
        policy = replace(policy, vram_bytes=budget.limit)
    return replace(planned, plan=replace(planned.plan, policy=policy))


def _rounded(plan_for: Callable[[float], Planned], step: int) -> Planned:
    """The plan at `step`, with its share cut to as few digits as select the same matrices."""
    exact = plan_for(step / STEPS)
    for width in (STEPS // 100, STEPS // 1000):
        cut = step // width * width
        if cut:
            planned = plan_for(cut / STEPS)
            if (planned.plan.train, planned.plan.lora) == (exact.plan.train, exact.plan.lora):
                return planned
    return exact


def _trained_weights(plan: Plan) -> int:
    assert plan.counts is not None  # shapes are known here
    return plan.counts.train + plan.counts.lora


def _too_small(budget: Budget, cost: int) -> PlanError:
    if budget.name == "params":
        return PlanError(
            f"no share fits: at least {cost:,} weights train, more than {budget.limit:,}",
            "raise --params, or choose from fewer --kinds",
        )
    return PlanError(
        f"no share fits: training takes at least {cost / 2**30:.3g} GiB, "
        f"more than {budget.limit / 2**30:.3g} GiB",
        "raise --vram, lower --batch-size or --max-length, or add --grad-checkpointing, --base nf4",
    )
