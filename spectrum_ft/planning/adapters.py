"""Which matrices can carry an adapter, and the adapters that a preset asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.naming import Place
from spectrum_ft.errors import PlanError
from spectrum_ft.records.plans import LoraOn, LoraSettings
from spectrum_ft.records.scans import ScanReport

WEIGHT = ".weight"

_ROUTERS = frozenset({"router", "wg", "shared_expert_gate", "ffn_gate_inp"})
"""What the matrix that sends tokens to experts is called, as a word of its kind: `router.layer`;
`gate` as well, but only beside experts and last of all: elsewhere it may be half of an MLP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRecipe:
    """Which adapters a preset asks for; see `LoraSettings` for the numbers."""

    on: LoraOn = "none"
    """Nothing, the matrices that do not train, or those that were chosen, instead of training."""
    r: int = 16
    """The rank."""
    alpha: float = 32.0
    """The scale times the rank. These defaults, with `dropout`, are those of TRL's examples."""
    dropout: float = 0.05
    """Dropout on the adapters' input."""

    def __post_init__(self) -> None:
        try:
            self.settings(())
        except ValueError as fault:
            raise PlanError(str(fault), "see --lora-r, --lora-alpha, --lora-dropout") from None

    def settings(self, matrices: Sequence[str]) -> LoraSettings:
        """The settings of adapters on `matrices`."""
        return LoraSettings(
            matrices=tuple(matrices), r=self.r, alpha=float(self.alpha), dropout=self.dropout
        )


def adaptable(report: ScanReport, places: Mapping[str, Place]) -> list[str]:
    """The linear matrices of the blocks, in the checkpoint's order: what adapters can be put on.

    Experts are loaded as one 3-D parameter and carry none; routers are left alone. Where shapes
    are unknown (imports), what was ranked and is no vector counts as a matrix.
    """
    vectors = {matrix.name for matrix in report.matrices if "vector" in matrix.flags}
    dimensions = 2 if report.model.fingerprint is not None else 0
    beside_experts = has_experts(report, places)
    return [
        name
        for name, shape in report.shapes.items()
        if (place := places[name]).role == "block"
        and place.expert is None
        and len(shape) == dimensions
        and name.endswith(WEIGHT)
        and name not in vectors
        and not _is_router(place.kind, beside_experts)
    ]


def _is_router(kind: str, beside_experts: bool) -> bool:
    words = kind.split(".")
    return not _ROUTERS.isdisjoint(words) or (beside_experts and words[-1] == "gate")


def has_experts(report: ScanReport, places: Mapping[str, Place]) -> bool:
    """Whether some blocks are mixtures of experts, stored one by one or all in one tensor."""
    # Thin slices may be those of a convolution's kernel.
    return any(m.expert is not None and "thin" not in m.flags for m in report.matrices) or any(
        place.role == "block" and (place.expert is not None or _names_experts(place.kind))
        for place in places.values()
    )


def _names_experts(kind: str) -> bool:
    return "experts" in kind.split(".") or kind.endswith("_exps")


def check_rank(recipe: LoraRecipe, matrices: Sequence[str], report: ScanReport) -> None:
    """Raise `PlanError` if no matrix has as high a rank as the adapters would have."""
    shapes = report.shapes
    highest = max((min(shapes[name]) for name in matrices if shapes[name]), default=None)
    if highest is not None and recipe.r > highest:
        raise PlanError(
            f"adapters of rank {recipe.r} are no smaller than the matrices, of rank {highest}",
            "lower --lora-r",
        )


def count_adapter_weights(lora: LoraSettings | None, shapes: Mapping[str, Sequence[int]]) -> int:
    """The weights of the adapters: A is r x n and B is m x r, for a matrix of m x n."""
    return sum(lora.r * sum(shapes[name]) for name in lora.matrices) if lora else 0
