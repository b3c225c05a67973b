"""The plan of each arm, made from one scan; shares may be found so that budgets are equal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from spectrum_ft.comparing.arms import Arm
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.budgets import Budget, fit_plan, params_budget, vram_budget
from spectrum_ft.planning.making import make_plan
from spectrum_ft.records.comparisons import CompareError
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.scans import ScanReport

ForecastBytes = Callable[[Plan], int]
"""The memory that training under a plan should take, in bytes."""

BUDGETS: dict[str, Callable[[Plan, ForecastBytes], Budget]] = {
    "memory": lambda plan, forecast_bytes: vram_budget(forecast_bytes(plan), forecast_bytes),
    "params": lambda plan, _: params_budget(_updated(plan)),
}
"""The budget that other arms have to keep to, from the plan of the arm that sets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A budget that all arms with a share are fitted to."""

    what: str
    """What is equal: a key of `BUDGETS`."""
    arm: Arm
    """The arm that sets it."""


def parse_match(text: str, arms: Sequence[Arm]) -> Match:
    """The match that `memory`, `params` or either with `:ARM` asks for.

    Without an arm, the first one that trains and takes no share sets the budget. Raises
    `CompareError`.
    """
    what, _, name = text.partition(":")
    if what not in BUDGETS:
        raise CompareError(f"--match {ascii(what)[:40]}: unknown", f"give {' or '.join(BUDGETS)}")
    able = [arm for arm in arms if arm.trains and (arm.name == name or not name)]
    able = able if name else [arm for arm in able if not arm.takes_share]
    if not able:
        raise CompareError(
            f"--match {ascii(text)[1:-1][:80]}: there is no such arm that trains",
            f"name one of them: {', '.join(f'{what}:{arm.name}' for arm in arms if arm.trains)}",
        )
    return Match(what=what, arm=able[0])


def plan_of(
    arm: Arm,
    seed: int,
    report: ScanReport,
    *,
    match: Match | None = None,
    forecast_bytes: ForecastBytes | None = None,
) -> Plan | None:
    """The plan that `arm` trains under with `seed`; None for an arm that does not train.

    Raises `PlanError`, naming the arm, for a plan that cannot be made.
    """
    if arm.plan is not None or arm.request is None:
        return arm.plan
    request = replace(arm.request, seed=seed) if arm.drawn else arm.request
    try:
        if match is None or not arm.takes_share or arm.name == match.arm.name:
            planned = make_plan(report, request)
        else:
            assert forecast_bytes is not None
            leader = plan_of(match.arm, seed, report)
            assert leader is not None
            budget = BUDGETS[match.what](leader, forecast_bytes)
            planned = fit_plan(report, replace(request, share=None), budget)
    except PlanError as fault:
        raise PlanError(f"the arm {arm.name}: {fault.message}", fault.hint) from None
    return replace(planned.plan, command="")


def _updated(plan: Plan) -> int:
    if plan.counts is None:
        raise CompareError(
            "--match params: the plan does not say how many weights it trains",
            "make it anew with `spectrum plan`",
        )
    return plan.counts.train + plan.counts.lora
