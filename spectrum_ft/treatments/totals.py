"""What the rows of a plan add up to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from spectrum_ft.records.plans import Plan
from spectrum_ft.treatments.subjects import Subject
from spectrum_ft.treatments.treatments import Row, Treatment


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the rows of a plan add up to."""

    matrices: Counter[Treatment]
    """How many units of the blocks' matrices are treated in each way."""
    others_trained: tuple[str, ...]
    """The rows besides the kinds of which something trains."""
    others_whole: bool
    """Whether every one of those trains in full."""
    train: int | None
    """Weights that are updated; None where that is not known."""
    total: int | None
    """Weights of the model; None where that is not known."""
    adapters: int | None
    """Weights of the adapters; None where that is not known."""
    packed: int
    """Weights that are kept in fewer bits, under adapters as well; 0 where shapes are unknown."""
    whole: bool
    """Whether every tensor of the model is known, trained or not."""


def total_up(plan: Plan, subject: Subject, rows: Sequence[Row]) -> Totals:
    """The sums over `rows`; the plan's own counts where shapes are unknown."""
    matrices: Counter[Treatment] = Counter()
    packed = 0
    for row in rows:
        if row.is_kind:
            matrices.update(row.counts)
        for unit in row.units:
            if unit.treatment == "packed" or (unit.treatment == "adapter" and plan.base != "as-is"):
                packed += unit.num_params
    others = [row for row in rows if not row.is_kind and row.counts.get("train")]
    counts = plan.counts
    train, total, adapters = (
        (counts.train, counts.total, counts.lora) if counts else (None, None, None)
    )
    if subject.sized:  # which holds after an edit as well
        train = sum(row.trained_params for row in rows)
        total = sum(row.num_params for row in rows)
        adapters = sum(unit.adapter_params for row in rows for unit in row.units)
    return Totals(
        matrices=matrices,
        others_trained=tuple(row.label for row in others),
        others_whole=all(set(row.counts) == {"train"} for row in others),
        train=train,
        total=total,
        adapters=adapters,
        packed=packed,
        whole=subject.found is not None,
    )
