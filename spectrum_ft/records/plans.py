"""What a plan says: what trains, what gets an adapter, how the rest is kept."""

from dataclasses import dataclass, field
from typing import Literal

from spectrum_ft.records.rows import Preview, Row, Tabular

PLAN_SCHEMA = "spectrum-ft/plan@1"
Base = Literal["as-is", "nf4", "int8"]
LoraOn = Literal["none", "rest", "picked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanModel:
    """The model that a plan was made for."""

    source: str
    """What was scanned."""
    fingerprint: str | None
    """SHA-256 over the sorted (name, shape) pairs of the source; null for imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """Where adapters go and how large they are (LoRA, arXiv 2106.09685)."""

    matrices: tuple[str, ...]
    """The matrices that get an adapter, by checkpoint name."""
    r: int
    """The adapters' rank, at least 1."""
    alpha: float
    """The adapters' output is scaled by alpha / r."""
    dropout: float
    """Dropout on the adapters' input, in [0, 1)."""

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(f"a rank of {self.r} is no adapter; it is at least 1")
        if not 0.0 < self.alpha < float("inf"):
            raise ValueError(f"an alpha of {self.alpha:g} scales nothing; it is above 0 and finite")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"a dropout of {self.dropout:g} leaves nothing; it is in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPolicy:
    """How the choice was made, so that it can be made again."""

    name: str
    """The preset's name."""
    share: float | None
    """The share asked for, in (0, 1]; null where the policy takes none."""
    score: str | None
    """The score that ranked; null where none did."""
    scope: Literal["kind", "overall"] = "kind"
    """Whether the share was taken of each kind, or of all matrices by their rank in the kind."""
    kinds: tuple[str, ...] = ()
    """Globs that the kinds had to match; empty for all."""
    exclude: tuple[str, ...] = ()
    """Globs of kinds or names that were left out."""
    seed: int | None = None
    """The seed of a random choice."""
    lora: LoraOn = "none"
    """What gets adapters: nothing, what does not train, or what was chosen, instead of training."""
    params: int | None = None
    """The most weights that were to train, where that decided the share."""
    vram_bytes: int | None = None
    """The most memory that training was to take, where that decided the share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCounts:
    """Numbers of weights. `train` and `frozen` add up to `total`; adapters come on top."""

    train: int
    """Weights that are updated."""
    lora: int
    """Weights of the adapters."""
    frozen: int
    """Weights that stay as they are."""
    total: int
    """Weights that the checkpoint stores."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan(Tabular):
    """What trains, what gets an adapter, and how the rest is kept."""

    schema: str = PLAN_SCHEMA
    """Name and version of this layout."""
    model: PlanModel
    """The model that it was made for."""
    train: tuple[str, ...]
    """The tensors whose every entry is updated, by checkpoint name, best first within a kind."""
    lora: LoraSettings | None = None
    """The adapters, if any."""
    base: Base = "as-is"
    """How every matrix that is not trained is kept, those under an adapter included."""
    policy: PlanPolicy
    """How the choice was made."""
    counts: PlanCounts | None = None
    """Numbers of weights; null where shapes are unknown (imports)."""
    command: str = field(default="")
    """The command line that made it, with tokens redacted and the home folder as `~`."""

    @property
    def adapted(self) -> tuple[str, ...]:
        """The matrices that carry an adapter."""
        return self.lora.matrices if self.lora else ()

    @property
    def reached(self) -> tuple[str, ...]:
        """Every tensor that the plan names: what trains in full, then what carries an adapter."""
        return (*self.train, *self.adapted)

    def to_rows(self) -> list[Row]:
        """One row for each tensor that trains in full or carries an adapter; see `records.rows`."""
        nothing = {"r": None, "alpha": None, "dropout": None}
        rows: list[Row] = [{"name": n, "treatment": "train", **nothing} for n in self.train]
        if self.lora is not None:
            size = {"r": self.lora.r, "alpha": self.lora.alpha, "dropout": self.lora.dropout}
            rows += [{"name": n, "treatment": "lora", **size} for n in self.lora.matrices]
        return rows

    def _preview(self) -> Preview:
        full, number = len(self.train), len(self.reached)

        def row(index: int) -> tuple[str, ...]:
            name = self.train[index] if index < full else self.adapted[index - full]
            return name, "train" if index < full else "lora"

        return Preview(
            title=f"Plan {self.policy.name} for {self.model.source}: {full:,} in full, "
            f"{number - full:,} with adapters, the rest {self.base}",
            columns=("tensor", "treatment"),
            number=number,
            row=row,
        )
