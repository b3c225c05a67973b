"""The memory that training a plan takes, as strings, and how long its bar is."""

from dataclasses import dataclass

from spectrum_ft.errors import PlanError
from spectrum_ft.memory import TrainingShape, forecast
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import Plan
from spectrum_ft.treatments.subjects import Subject
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.planning import MOMENTS

_DEVICES = {"cuda": "a GPU", "cpu": "a CPU"}
_PRECISIONS = {
    "master": "trained weights in float32",
    "stochastic": "trained weights in bfloat16, rounded stochastically",
    "as-is": "trained weights in {dtype}, as the rest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a part of the memory is taken for."""

    name: str
    """What it is called."""
    meaning: str
    """What it holds."""
    size: str
    """How much it takes."""
    share: str
    """How much of the whole that is."""
    start: float
    """Where it begins on the bar, of the bar's length."""
    width: float
    """How long it is on the bar, of the bar's length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryView:
    """The memory that training a plan takes at the fullest moment of a step."""

    total: str
    """All of it."""
    device: str
    """What trains: `a GPU`."""
    tokens: str
    """The batch: `4 × 1,024 tokens`."""
    moment: str
    """When it is fullest: `in the backward pass`."""
    parts: tuple[Part, ...]
    """What it is taken for; they add up to it."""
    settings: str
    """What else it depends on: precision, optimizer, checkpointing."""
    note: str
    """What it leaves out."""
    budget: str
    """What the plan was made to fit into; empty where it was not."""
    budget_at: float
    """Where that ends on the bar, of the bar's length; 0 without one."""
    fits: bool
    """Whether it is no more than the budget."""


def memory_view(plan: Plan, subject: Subject, shape: TrainingShape) -> MemoryView | None:
    """What training takes as `shape` says; None where shapes are unknown, or tell no blocks."""
    if not subject.sized:
        return None
    try:
        foreseen = forecast(plan, subject.shapes, shape)
    except PlanError:
        return None  # a model without blocks, or of none that a forecast knows
    budget = plan.policy.vram_bytes
    length = max(foreseen.total_bytes, budget or 0)
    checkpointed = "recomputed" if shape.gradient_checkpointing else "kept"
    dtype = "float32" if shape.compute_bytes == 4 else "bfloat16"
    return MemoryView(
        total=numbers.size(foreseen.total_bytes),
        device=_DEVICES[foreseen.device],
        tokens=f"{shape.batch_size:,} × {shape.max_length:,} tokens",
        moment=MOMENTS[foreseen.moment],
        parts=_parts(foreseen, length),
        settings=f"Frozen weights in {dtype}, {_PRECISIONS[shape.precision].format(dtype=dtype)}, "
        f"optimizer {shape.optimizer}, activations {checkpointed}",
        note="Leave room for the driver and for fragments: the forecast counts what PyTorch's "
        "allocator hands out."
        if foreseen.device == "cuda"
        else "On a CPU this is what comes on top of the imported libraries.",
        budget="" if budget is None else numbers.size(budget),
        budget_at=0.0 if budget is None else budget / length,
        fits=budget is None or foreseen.total_bytes <= budget,
    )


def _parts(foreseen: Forecast, length: int) -> tuple[Part, ...]:
    told = (
        ("weights", "as they are kept, packed ones included, and adapters", foreseen.weights_bytes),
        ("gradients", "those that exist at that moment", foreseen.gradients_bytes),
        ("optimizer", "what it remembers between steps", foreseen.optimizer_bytes),
        ("activations", "kept for the backward pass", foreseen.activations_bytes),
        ("buffers", "what that moment alone needs", foreseen.buffers_bytes),
    )
    parts, start = [], 0.0
    for name, meaning, num_bytes in told:
        width = num_bytes / length
        parts.append(
            Part(
                name=name,
                meaning=meaning,
                size=numbers.size(num_bytes),
                share=numbers.share(num_bytes, foreseen.total_bytes),
                start=start,
                width=width,
            )
        )
        start += width
    return tuple(parts)
