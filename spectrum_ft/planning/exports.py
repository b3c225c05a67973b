"""Plans in other tools' own words."""

import re
from collections.abc import Callable, Mapping

import yaml

from spectrum_ft.errors import PlanError
from spectrum_ft.records.plans import Plan


def to_name_list(plan: Plan) -> str:
    """The trained tensors, one name a line; `PlanError` for a name that is no line of text."""
    for name in plan.train:
        if not name.isprintable():
            raise PlanError(
                f"{ascii(name)[1:-1][:200]} cannot stand in a list of lines",
                "write the plan itself, or another format",
            )
    return "".join(f"{name}\n" for name in plan.train)


def to_axolotl(plan: Plan) -> str:
    """Axolotl's `unfrozen_parameters`: regular expressions, anchored and escaped.

    Axolotl matches them with `re.match`; without the anchors `layers.1` would also take
    `layers.10`, and a bare dot any character.
    """
    patterns = [f"^{re.escape(name)}$" for name in plan.train]
    return yaml.safe_dump({"unfrozen_parameters": patterns}, width=10**6)


def export_plan(plan: Plan, format: str) -> str:
    """`plan` in the format of that name, a key of `EXPORTS`; `PlanError` if it cannot be said."""
    if plan.lora is not None:
        raise PlanError(
            f"the format {format} lists what trains in full and knows no adapters",
            "write the plan itself, or choose a preset without adapters",
        )
    return EXPORTS[format](plan)


EXPORTS: Mapping[str, Callable[[Plan], str]] = {"axolotl": to_axolotl, "list": to_name_list}
"""Every export format, by name."""
