"""Base + what a run changed = a standard transformers folder, one tensor in memory at a time."""

import json
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spectrum_ft.checkpoints.folder import INDEX, SINGLE
from spectrum_ft.staging import staged
from spectrum_ft.tuning.merges.merge_jobs import (
    MAX_SHARD_BYTES,
    MergeDtype,
    MergeJob,
    Onto,
    prepare_merge,
)
from spectrum_ft.tuning.merges.merged_folder import companions, copy_file, write_config
from spectrum_ft.tuning.merges.merged_values import How, merged_content
from spectrum_ft.tuning.merges.model_card import model_card
from spectrum_ft.tuning.runs.tensor_files import writing_tensors

MERGE_SCHEMA = "spectrum-ft/merge@1"

# A merge writes all the time: what has not changed for this long was left by one that was killed.
_ABANDONED_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedTensor:
    """One tensor that was written."""

    name: str
    """Its name, the base's."""
    how: How
    """What became of it."""
    num_bytes: int
    """The bytes it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What a merge wrote."""

    schema: str = MERGE_SCHEMA
    """Name and version of this layout."""
    output: str
    """The folder."""
    onto: Onto
    """What adapters were added to."""
    tensors: dict[How, int]
    """How many tensors were written, by what became of them."""
    shards: int
    """Weight files."""
    weight_bytes: int
    """The bytes of all tensors."""
    notes: tuple[str, ...]
    """What the user should know about the result."""


def merge(
    run: Path,
    output: Path,
    *,
    onto: Onto = "base",
    dtype: MergeDtype = "auto",
    force: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> MergeReport:
    """Write the model that the finished run in `run` made as the transformers folder `output`.

    See `prepare_merge`.
    """
    job = prepare_merge(
        run, output, onto=onto, dtype=dtype, force=force, max_shard_bytes=max_shard_bytes
    )
    return report_merge(job, list(iter_merge(job)))


def iter_merge(job: MergeJob) -> Generator[MergedTensor, None, None]:
    """Each tensor as it is written; with the last one taken, the folder is there.

    It appears by one rename: until then, and after any fault, the target is what it was. Whoever
    stops early closes the iterator, which removes what is half written.
    """
    with staged(
        job.output,
        hint="make room there, or give another folder",
        when_taken="replace" if job.force else "refuse",
        abandoned_seconds=_ABANDONED_SECONDS,
    ) as folder:
        names = _shard_names(len(job.shards))
        for name, shard in zip(names, job.shards, strict=True):
            with writing_tensors(folder / name, shard) as write:
                for tensor in shard:
                    content, how = merged_content(job, tensor)
                    write(content)
                    yield MergedTensor(name=tensor.name, how=how, num_bytes=content.nbytes)
        if len(names) > 1:
            _write_index(folder, names, job)
        for path in companions(job.base):
            copy_file(path, folder / path.relative_to(job.base))
        write_config(job.base, folder, job.main_type)
        card = model_card(job.run, onto=job.onto, dtype=job.main_type)
        (folder / "README.md").write_text(card, encoding="utf-8")


def report_merge(job: MergeJob, written: Sequence[MergedTensor]) -> MergeReport:
    """What the merge `job`, which wrote `written`, comes to."""
    return MergeReport(
        output=str(job.output),
        onto=job.onto,
        tensors=dict(Counter(tensor.how for tensor in written)),
        shards=len(job.shards),
        weight_bytes=job.num_bytes,
        notes=job.notes,
    )


def _shard_names(count: int) -> list[str]:
    if count == 1:
        return [SINGLE]
    stem, suffix = SINGLE.rsplit(".", 1)
    return [f"{stem}-{i:05d}-of-{count:05d}.{suffix}" for i in range(1, count + 1)]


def _write_index(folder: Path, names: Sequence[str], job: MergeJob) -> None:
    weight_map = {
        tensor.name: name for name, shard in zip(names, job.shards, strict=True) for tensor in shard
    }
    table = {"metadata": {"total_size": job.num_bytes}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
