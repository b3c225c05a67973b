"""Which optimizers can train a plan, and the groups that they work on."""

from typing import Any

from spectrum_ft.errors import TrainError
from spectrum_ft.records.training import TrainSettings
from spectrum_ft.tuning.applying import Applied

ANYWHERE = ("adamw_torch", "adamw_torch_fused", "adafactor", "adagrad", "rmsprop", "sgd")
"""Optimizers that run on every device."""

ON_CUDA = (
    "adamw_bnb_8bit",
    "adamw_8bit",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "lion_32bit",
    "lion_8bit",
    "paged_lion_32bit",
    "paged_lion_8bit",
    "ademamix",
    "ademamix_8bit",
    "paged_ademamix_32bit",
    "paged_ademamix_8bit",
    "rmsprop_bnb",
    "rmsprop_bnb_8bit",
    "rmsprop_bnb_32bit",
)
"""Optimizers of bitsandbytes, which keeps their states on a GPU in 8 bits or in paged memory.

Left out, of transformers' list: those that choose their own parameters or parameter groups
(GaLore, Apollo, LOMO, layerwise variants), which would undo a plan's.
"""


def check_optimizer(name: str, device: str) -> None:
    """Raise `TrainError` if the optimizer `name` cannot train a plan on `device`."""
    if name in ON_CUDA and device != "cuda":
        raise TrainError(
            f"the optimizer {name} needs a CUDA GPU, and this run is on a {device}",
            f"without one: {', '.join(ANYWHERE)}",
        )
    if name not in (*ANYWHERE, *ON_CUDA):
        raise TrainError(
            f"the optimizer {ascii(name)[1:-1][:60]} is not one that can train a plan",
            f"choose {', '.join(ANYWHERE)}, or on a GPU paged_adamw_8bit and its like",
        )


def check_rounding(name: str, precision: str) -> None:
    """Raise `TrainError` for an optimizer that cannot step 16-bit weights in float32."""
    if precision == "stochastic" and name == "adagrad":
        raise TrainError(
            "adagrad keeps its state in the type of the weights, too coarse for --precision "
            "stochastic",
            "use --precision master, or another optimizer",
        )


def parameter_groups(applied: Applied, settings: TrainSettings) -> list[dict[str, Any]]:
    """One group for what trains in full and one for adapters, each with its own learning rate.

    Adapters are not decayed. Empty groups are left out.
    """
    groups = [
        {
            "params": list(applied.trained.values()),
            "lr": settings.lr,
            "weight_decay": settings.weight_decay,
        },
        {"params": list(applied.adapters.values()), "lr": settings.lora_lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
