"""How a plan is going to be trained, as far as memory depends on it."""

from dataclasses import dataclass
from typing import Literal

from spectrum_ft.errors import PlanError
from spectrum_ft.forecasting.keeping import BFLOAT16, FLOAT32, OPTIMIZERS, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingShape:
    """How a plan is going to be trained, as far as memory depends on it."""

    batch_size: int = 4
    """Rows a forward pass takes, at least 1."""
    max_length: int = 1024
    """Tokens in the longest row, at least 2."""
    precision: Precision = "master"
    """How trained weights are kept, see `trained_weight_bytes`."""
    optimizer: str = "adamw_torch"
    """The optimizer, a key of `OPTIMIZERS`."""
    gradient_checkpointing: bool = False
    """Whether a block's activations are computed again in the backward pass instead of kept."""
    device: Literal["cpu", "cuda"] = "cuda"
    """What trains."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What frozen weights are kept and multiplied in; auto: bfloat16 on a GPU, else float32."""
    labelled_tokens: int | None = None
    """Tokens of a forward pass that a loss is taken on; None for all of them."""
    grad_accum: int = 1
    """Forward passes an optimizer step takes, at least 1."""
    padded: bool | None = None
    """Whether rows of a batch differ in length; None for yes, if there are several."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("max_length", 2), ("grad_accum", 1)):
            if getattr(self, name) < least:
                option = "--" + name.replace("_", "-")
                raise PlanError(
                    f"{option} {getattr(self, name)}: too small", f"give at least {least}"
                )
        if self.optimizer not in OPTIMIZERS:
            raise PlanError(
                f"the memory of the optimizer {self.optimizer[:60]!a} is not known",
                f"known: {', '.join(OPTIMIZERS)}",
            )

    @property
    def compute_bytes(self) -> int:
        """Bytes of a number in matrix products."""
        if self.dtype == "auto":
            return BFLOAT16 if self.device == "cuda" else FLOAT32
        return FLOAT32 if self.dtype == "float32" else BFLOAT16

    @property
    def tokens(self) -> int:
        """Tokens of a forward pass."""
        return self.batch_size * self.max_length
