"""How a plan was chosen and when memory is fullest, in words."""

from collections.abc import Mapping

from spectrum_ft.records.plans import PlanPolicy
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable

MOMENTS: Mapping[str, str] = {
    "load": "while loading",
    "forward": "in the forward pass",
    "backward": "in the backward pass",
    "step": "in the optimizer's step",
}
"""The moments of a step, by the forecast's names."""


def rule(policy: PlanPolicy) -> str:
    """How the choice was made: `spectrum, 25 % of each kind by snr`."""
    name = printable(policy.name, 40)
    if policy.share is None:
        return name
    fitted = ""
    if policy.params is not None:
        fitted = f", the most that {policy.params:,} weights allow"
    elif policy.vram_bytes is not None:
        fitted = f", the most that {numbers.size(policy.vram_bytes)} allow"
    ranked = f" by {printable(policy.score, 40)}" if policy.score is not None else ""
    of = "each kind" if policy.scope == "kind" else "all matrices"
    return f"{name}, {100.0 * policy.share:g} % of {of}{ranked}{fitted}"


def saved_backward(lowest: int, layers: int) -> str:
    """What it saves that the backward pass stops at the block `lowest`."""
    saved = f"{numbers.share(lowest, layers)} of the blocks are never differentiated"
    return saved if lowest else "no block is spared"
