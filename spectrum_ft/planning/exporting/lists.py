"""The plain list of names."""

from spectrum_ft.errors import PlanError
from spectrum_ft.records.plans import Plan


def train_by_list(plan: Plan) -> str:
    """The trained tensors, one name a line; `PlanError` for a name that is no line of text."""
    for name in plan.train:
        if not name.isprintable():
            raise PlanError(
                f"{ascii(name)[1:-1][:200]} cannot stand in a list of lines",
                "write the plan itself, or another format",
            )
    return "".join(f"{name}\n" for name in plan.train)
