"""What the YAML of several tools has in common."""

from collections.abc import Mapping

import yaml

from spectrum_ft.errors import PlanError
from spectrum_ft.records.plans import LoraSettings


def to_yaml(settings: Mapping[str, object]) -> str:
    """`settings` as YAML, in their order, each string on one line."""
    return yaml.safe_dump(dict(settings), sort_keys=False, width=10**6)


def whole_alpha(lora: LoraSettings) -> int:
    """The adapters' alpha for a tool that takes whole numbers; `PlanError` if it is none."""
    if not lora.alpha.is_integer():
        raise PlanError(
            f"an alpha of {lora.alpha:g}: this format takes whole numbers only",
            "plan with another --lora-alpha",
        )
    return int(lora.alpha)
