"""A merge of a finished run into its base: everything checked, nothing written."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spectrum_ft.checkpoints.checkpoint import open_checkpoint
from spectrum_ft.checkpoints.config_file import read_config_table
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError, OutputError, few_names
from spectrum_ft.records.training import TrainRun
from spectrum_ft.staging import free_bytes
from spectrum_ft.tuning.merges.deltas import (
    Delta,
    base_folder,
    finished_run,
    read_delta,
    stores_transposed,
)
from spectrum_ft.tuning.merges.merged_folder import check_target, companions
from spectrum_ft.tuning.runs.manifests import verify_manifest
from spectrum_ft.tuning.runs.run_folder import RESULT
from spectrum_ft.tuning.runs.tensor_files import StoredTensor, in_file_order

Onto = Literal["base", "dequantized"]
MergeDtype = Literal["auto", "float32", "bfloat16", "float16"]
MAX_SHARD_BYTES = 5_000_000_000
"""What transformers writes into one file at most, too."""

_FLOATS = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeJob:
    """A merge that was checked and can begin."""

    run: TrainRun
    """The finished run."""
    delta: Delta
    """What it changed."""
    base: Path
    """The folder that it started from."""
    output: Path
    """Where the merged model goes."""
    force: bool
    """Whether a model that is there is replaced."""
    onto: Onto
    """What adapters are added to: the base's own values, or what 4 or 8 bits keep of them."""
    shards: tuple[tuple[StoredTensor, ...], ...]
    """The tensors of each file to write, in its order and with the types to write."""
    sources: Mapping[str, TensorEntry]
    """Where the base's tensors lie, by name."""
    transposed: bool
    """Whether the base stores its matrices the other way round, see `stores_transposed`."""
    device: str
    """What rounds to 4 or 8 bits: `cpu` or `cuda`."""
    notes: tuple[str, ...]
    """What the user should know about the result."""

    @property
    def num_bytes(self) -> int:
        """The bytes of all tensors to write."""
        return sum(tensor.num_bytes for shard in self.shards for tensor in shard)

    @property
    def main_type(self) -> str:
        """The floating-point type that most of the merged model's bytes are in."""
        num_bytes: Counter[str] = Counter()
        for shard in self.shards:
            for tensor in shard:
                if tensor.dtype in _FLOATS:
                    num_bytes[tensor.dtype] += tensor.num_bytes
        return max(num_bytes, key=num_bytes.__getitem__, default="float32")


def prepare_merge(
    run: Path,
    output: Path,
    *,
    onto: Onto = "base",
    dtype: MergeDtype = "auto",
    force: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> MergeJob:
    """The merge of the finished run in `run` into the folder `output`, checked and not begun.

    Trained tensors replace the base's; adapters are added in float32, to the base's values or,
    with `onto` dequantized, to what the run's 4 or 8 bits kept of them; all else stays as it is.
    `dtype` is that of all floating-point tensors, `auto` for what the base has for each.

    Raises `CheckpointError` for an unfinished or damaged run and for a base that it does not fit,
    `OutputError` for a target that must not be written to and for a disk that is too full.
    """
    record = finished_run(run)
    folder = base_folder(record)
    output = output.absolute()
    check_target(output, force=force, kept=(run, folder))
    verify_manifest(run / RESULT)
    base = open_checkpoint(str(folder))
    _refuse_packed(folder, base.entries)
    stored = [
        StoredTensor(name=entry.name, dtype=_target_type(entry, dtype), shape=entry.shape)
        for entry in sorted(base.entries, key=lambda entry: (entry.file.name, entry.offset))
    ]
    device, notes = _rounding_device(record, onto)
    job = MergeJob(
        run=record,
        delta=read_delta(run / RESULT, record, base, folder),
        base=folder,
        output=output,
        force=force,
        onto=onto,
        shards=tuple(_shards(stored, max_shard_bytes)),
        sources={entry.name: entry for entry in base.entries},
        transposed=stores_transposed(base.entries),
        device=device,
        notes=notes,
    )
    _check_room(job)
    return job


def _target_type(entry: TensorEntry, dtype: MergeDtype) -> str:
    return dtype if dtype != "auto" and entry.dtype in _FLOATS else entry.dtype


def _refuse_packed(folder: Path, entries: Sequence[TensorEntry]) -> None:
    """Raise `CheckpointError` for a base whose tensors are not plain ones of a safetensors file."""
    foreign = sorted(
        {Path(e.file.name).name for e in entries if Path(e.file.name).suffix != ".safetensors"}
    )
    if foreign:
        raise CheckpointError(
            f"{folder}: its weights lie in {few_names(foreign)}", "merging needs safetensors files"
        )
    packed = [entry.name for entry in entries if entry.dtype not in _FLOATS]
    if "quantization_config" in read_config_table(folder) and packed:
        raise CheckpointError(
            f"{folder}: {len(packed)} tensors are packed: {few_names(packed)}",
            "train and merge the original in 16 or 32 bits",
        )


def _rounding_device(run: TrainRun, onto: Onto) -> tuple[str, tuple[str, ...]]:
    """What 4 and 8 bits are computed on, and what that and `onto` mean for the user."""
    if onto == "base":
        if run.quantized and run.adapted:
            return "cpu", (
                f"The adapters trained on {run.plan.base} weights and are added to the original "
                "ones here; --onto dequantized gives the very model that trained.",
            )
        return "cpu", ()
    if not run.quantized:
        return "cpu", ("--onto dequantized changes nothing: this run kept nothing in 4 or 8 bits.",)
    import torch

    if not run.contract.device.startswith("cuda"):
        return "cpu", ()
    if torch.cuda.is_available():
        return "cuda", ()
    return "cpu", (
        "The run rounded its base on a GPU and there is none here: single values may differ from "
        "the trained model's in their last bit.",
    )


def _check_room(job: MergeJob) -> None:
    needed = job.num_bytes + sum(path.stat().st_size for path in companions(job.base))
    free = free_bytes(job.output)
    if needed > free:
        raise OutputError(
            f"{job.output}: not enough room: the model takes {needed:,} bytes, {free:,} are free",
            "make room there, give another folder, or write it in --dtype bfloat16",
        )


def _shards(tensors: Sequence[StoredTensor], max_bytes: int) -> Iterator[tuple[StoredTensor, ...]]:
    """`tensors` in runs of at most `max_bytes`, or of a single larger one."""
    shard: list[StoredTensor] = []
    for tensor in tensors:
        if shard and sum(t.num_bytes for t in shard) + tensor.num_bytes > max_bytes:
            yield tuple(in_file_order(shard))
            shard = []
        shard.append(tensor)
    yield tuple(in_file_order(shard))
