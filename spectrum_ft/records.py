"""The records that cross stages, and that other tools may rely on: `scan.json` and its kin.

Each is a frozen dataclass written as strict JSON with its schema's name and version. Numbers are
finite; a number that does not exist is `null`, and a flag or a reason beside it says why.
"""

from dataclasses import dataclass, field
from typing import Literal

SCAN_SCHEMA = "spectrum-ft/scan@1"
PLAN_SCHEMA = "spectrum-ft/plan@1"

Flag = Literal["saturated", "thin", "unresolved", "vector", "escalated", "fallback"]
Base = Literal["as-is", "nf4", "int8"]
LoraOn = Literal["none", "rest", "picked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Which model a record is about."""

    source: str
    """What was scanned, as the user named it; the home folder appears as `~`."""
    revision: str | None
    """The Hub commit that was read, or null for local files."""
    fingerprint: str | None
    """SHA-256 over the sorted (name, shape) pairs; null where shapes are unknown (imports)."""
    parameters: int | None
    """The number of weights that the checkpoint stores; null where shapes are unknown."""
    layers: int
    """The number of blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumSummary:
    """The singular values of a matrix in a few numbers, in the unit of its weights."""

    max: float
    """The largest singular value."""
    min: float
    """The smallest."""
    q25: float
    """The first quartile, linearly interpolated."""
    median: float
    """The median."""
    q75: float
    """The third quartile."""
    sum: float
    """The sum of all of them."""
    count: int
    """How many there are: the smaller extent."""
    error: float
    """How far the least certain of them may be from the truth."""
    histogram: tuple[int, ...]
    """64 counts over (max / 10^4, max] in equal steps of the logarithm, smallest values first;
    values below that range count in the first bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedMatrix:
    """One scored matrix."""

    name: str
    """The tensor's name in the checkpoint."""
    kind: str
    """Its role in a block, e.g. `self_attn.q_proj`."""
    layer: int | None
    """The index of its block, from 0; null outside the blocks."""
    expert: int | None
    """The index of its expert within the block, from 0; null for anything else."""
    shape: tuple[int, ...]
    """The tensor's extents: rows and columns; experts, rows and columns where this matrix is one
    slice of a tensor that holds several, and `expert` says which; empty where unknown (imports)."""
    dtype: str | None
    """How the checkpoint stores it, e.g. `bfloat16` or `Q4_1`; null where unknown."""
    scores: dict[str, float | None]
    """Each score by name; null where it does not exist (see `flags`) or was not computed."""
    spectrum: SpectrumSummary | None
    """Its singular values, summed up; null for imports."""
    edge: float | None
    """The noise edge of `snr`, in the unit of the weights; null for imports."""
    signal_rank: int | None
    """How many singular values lie above `edge`; null for imports."""
    digest: str | None
    """SHA-256 of its type, shape and bytes; null for imports."""
    flags: tuple[Flag, ...] = ()
    """`saturated`: the edge leaves no noise; `thin`: too small or too low in rank to rank;
    `unresolved`: `condition` is less certain than 1 %, so it is null; `escalated`: float32 was not
    accurate enough and a costlier method was used; `fallback`: the GPU had no room for it and
    the CPU did it; `vector`: a vector that an import ranked."""

    @property
    def extents(self) -> tuple[int, ...]:
        """Rows and columns of this matrix alone."""
        return self.shape[-2:]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedTensor:
    """One tensor without a score, and why."""

    name: str
    """The tensor's name in the checkpoint."""
    shape: tuple[int, ...]
    """Its extents as stored."""
    reason: str
    """Why it has no score."""
    expert: int | None = None
    """The slice that has none, where others of the same tensor may have one; null for all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What computed a record."""

    spectrum_ft: str
    """Our own version."""
    python: str
    """The interpreter's version."""
    numpy: str
    """numpy's version."""
    scipy: str
    """scipy's version; its BLAS and numpy's LAPACK do the arithmetic."""
    platform: str
    """System and machine, e.g. `Linux x86_64`."""
    device: str
    """What the spectra were computed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """What a scan found: every matrix with its scores, everything else with a reason."""

    schema: str = SCAN_SCHEMA
    """Name and version of this layout."""
    model: ModelInfo
    """The model that was scanned."""
    score: str
    """The score that the scan made sure of, and that reports show."""
    matrices: tuple[ScannedMatrix, ...]
    """The scored matrices, in natural order of their names, slices of one tensor in theirs."""
    skipped: tuple[SkippedTensor, ...]
    """Every other tensor, in the same order."""
    environment: Environment | None
    """What computed it; null for imports."""
    seconds: float
    """Wall-clock seconds that the scan took; 0 for imports."""
    command: str
    """The command line, with tokens redacted and the home folder as `~`."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, scored or not, by name."""
        return {m.name: m.shape for m in self.matrices} | {t.name: t.shape for t in self.skipped}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The memory that training takes at the fullest moment of a step; the parts add up to it."""

    device: Literal["cpu", "cuda"]
    """What trains: on a CPU the memory beyond the imported libraries', on a GPU the allocator's."""
    moment: Literal["load", "forward", "backward", "step"]
    """The part of training in which the most memory is in use."""
    weights_bytes: int
    """All weights as they are kept, the quantized ones packed, and the adapters."""
    gradients_bytes: int
    """The gradients that exist at that moment."""
    optimizer_bytes: int
    """What the optimizer remembers between steps."""
    activations_bytes: int
    """What the forward pass keeps for the backward pass at that moment."""
    buffers_bytes: int
    """What that moment alone needs: the head's logits, a matrix unpacked, a block's own work."""
    total_bytes: int
    """All of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """What became of a data set on its way into training."""

    source: str
    """The file or Hub id."""
    digest: str
    """SHA-256 of the file, or what identifies the Hub's version."""
    shape: str
    """How its rows were read, in words for the user."""
    rows: int
    """Rows read."""
    kept: int
    """Rows that train."""
    truncated: int
    """Kept rows whose end was cut off."""
    dropped: int
    """Rows with nothing to learn."""
    tokens: int
    """Tokens of the kept rows."""
    learned_tokens: int
    """Tokens among them that the loss is taken on."""
    longest: int
    """Tokens of the longest row before it was cut."""
    last_answer_only: int = 0
    """Kept conversations of which only the last answer is learned, because the chat template
    rewrites earlier turns."""
