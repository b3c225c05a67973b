"""What a report says below its table: one fact a line, about a scan, a plan and its memory."""

from collections.abc import Sequence

from spectrum_ft.memory import TrainingShape
from spectrum_ft.planning.making import Planned
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.summaries import KindSummary, skip_reasons
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.planning import MOMENTS, rule, saved_backward
from spectrum_ft_reports.parts.untrusted import printable

_NOTABLE = {
    "saturated": "the edge leaves no noise, so the score is no ratio",
    "thin": "too small or too low in rank to be ranked",
}
"""Flags that bear on the choice."""

_TOLD = {**_NOTABLE, "fallback": "the GPU had no room for it, so it was computed on the CPU"}
"""Flags that a scan tells of."""


def scan_facts(report: ScanReport) -> list[Fact]:
    """What was scored, and what was not and why."""
    time = f" in {numbers.seconds(report.seconds)}" if report.seconds else ""
    device = f" on {printable(report.environment.device, 80)}" if report.environment else ""
    scored = numbers.plural(len(report.matrices), "matrix", "matrices") + _stacked(report)
    facts = [Fact("scored", f"{scored}{time}{device}")]
    reasons = skip_reasons(report)
    if reasons:
        listed = [f"{number:,} × {printable(reason)}" for reason, number in reasons.most_common()]
        more = f"; {len(listed) - 6} more reasons" if len(listed) > 6 else ""
        facts.append(Fact("skipped", "; ".join(listed[:6]) + more))
    flags = [flag for matrix in report.matrices for flag in matrix.flags]
    return facts + [
        Fact(flag, f"{numbers.plural(flags.count(flag), 'matrix', 'matrices')}: {meaning}")
        for flag, meaning in _TOLD.items()
        if flag in flags
    ]


def _stacked(report: ScanReport) -> str:
    """How many of the matrices share a tensor with others: experts that are stored in a stack."""
    stacked = [matrix.name for matrix in report.matrices if len(matrix.shape) > 2]
    if not stacked:
        return ""
    tensors = numbers.plural(len(set(stacked)), "tensor")
    return f", {len(stacked):,} of them experts in {tensors},"


def plan_facts(
    planned: Planned, report: ScanReport, summaries: Sequence[KindSummary]
) -> list[Fact]:
    """What trains, what carries adapters, how the rest is kept, and how narrow the choice was."""
    plan = planned.plan
    facts = [Fact("plan", rule(plan.policy)), Fact("trains", _trained(planned))]
    if plan.lora is not None:
        facts.append(Fact("adapters", _adapters(plan)))
    if planned.bare_experts:
        facts.append(Fact("experts", "of a block load as one parameter and carry no adapter"))
    if planned.tied_head:
        facts.append(Fact("head", "shares its weights with the embeddings: both train"))
    rest = "frozen as it is" if plan.base == "as-is" else f"in {plan.base}"
    facts.append(Fact("rest", rest))
    facts.append(Fact("backward", _backward(planned.lowest_layer, report.model.layers)))
    margins = [(s.margin, s.kind) for s in summaries if s.margin is not None]
    if margins and plan.policy.score is not None:
        margin, kind = min(margins)
        facts.append(
            Fact(
                "cut",
                f"narrowest in {printable(kind)}: {100.0 * margin:.2g} % between the last matrix "
                "taken and the first one left",
            )
        )
    at_cut = {flag for c in planned.choices for unit in c.at_the_cut for flag in unit.flags}
    flagged = [flag for flag in _NOTABLE if flag in at_cut]
    return facts + [Fact("at cut", f"some are {flag}: {_NOTABLE[flag]}") for flag in flagged]


def _trained(planned: Planned) -> str:
    plan = planned.plan
    if not plan.train:
        return "adapters only"
    counts = plan.counts
    return trained_text(
        len(plan.train), counts.train if counts else None, counts.total if counts else None
    )


def trained_text(tensors: int, weights: int | None, total: int | None) -> str:
    """How many tensors train, and how many of the model's weights; None for those of an import."""
    named = numbers.plural(tensors, "tensor")
    if weights is None or total is None:
        return f"{named}; an imported result does not say how many weights that is"
    return (
        f"{named}, {numbers.count(weights)} of {numbers.count(total)} weights "
        f"= {numbers.share(weights, total)} of the model"
    )


def _adapters(plan: Plan) -> str:
    assert plan.lora is not None
    matrices = numbers.plural(len(plan.lora.matrices), "matrix", "matrices")
    weights = f": {numbers.count(plan.counts.lora)} weights on top" if plan.counts else ""
    return f"on {matrices}, rank {plan.lora.r}, alpha {plan.lora.alpha:g}{weights}"


def memory_facts(forecast: Forecast, shape: TrainingShape) -> list[Fact]:
    """What training takes, at which moment, and for what."""
    device = "a GPU" if forecast.device == "cuda" else "a CPU, beyond the libraries' own"
    parts = {
        "weights": forecast.weights_bytes,
        "gradients": forecast.gradients_bytes,
        "optimizer": forecast.optimizer_bytes,
        "activations": forecast.activations_bytes,
        "buffers": forecast.buffers_bytes,
    }
    listed = ", ".join(f"{name} {numbers.size(part)}" for name, part in parts.items() if part)
    return [
        Fact(
            "memory",
            f"{numbers.size(forecast.total_bytes)} on {device}, for "
            f"{shape.batch_size:,} × {shape.max_length:,} tokens",
        ),
        Fact("fullest", f"{MOMENTS[forecast.moment]}: {listed}"),
    ]


def _backward(lowest: int | None, layers: int) -> str:
    if lowest is None:
        return "runs through the whole model"
    return f"stops at layer {lowest}; {saved_backward(lowest, layers)}"
