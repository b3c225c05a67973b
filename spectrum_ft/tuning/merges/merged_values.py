"""The values of one tensor of a merged model."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.checkpoint import read_bytes
from spectrum_ft.errors import CheckpointError, OutputError, few_names
from spectrum_ft.tuning.merges.deltas import Adapter
from spectrum_ft.tuning.merges.dequantized import ROUNDINGS
from spectrum_ft.tuning.merges.merge_jobs import MergeJob
from spectrum_ft.tuning.runs.tensor_files import (
    StoredTensor,
    load_tensor,
    tensor_bytes,
    torch_dtype,
)

if TYPE_CHECKING:
    import torch

How = Literal["copied", "converted", "trained", "adapted", "dequantized"]
"""What became of a tensor: taken over as it is, in another type, replaced by what was trained,
given its adapter's product, or left as 4 or 8 bits keep it."""


def merged_content(job: MergeJob, tensor: StoredTensor) -> tuple[NDArray[np.uint8], How]:
    """The bytes of a tensor of the merged model, and what became of it."""
    source = job.sources[tensor.name]
    trained = job.delta.trained.get(tensor.name)
    adapter = job.delta.adapters.get(tensor.name)
    rounded = job.onto == "dequantized" and tensor.name in job.run.quantized
    if trained is None and adapter is None and not rounded and tensor.dtype == source.dtype:
        return read_bytes(source), "copied"
    value = load_tensor(trained or source)
    if rounded and trained is None:
        value = _rounded(job, value)
    if adapter is not None:
        value = _adapted(value, adapter)
    how: How = "dequantized" if rounded else "converted"
    how = "trained" if trained is not None else "adapted" if adapter is not None else how
    return tensor_bytes(_narrowed(value, tensor, is_ours=how in ("trained", "adapted"))), how


def _rounded(job: MergeJob, value: "torch.Tensor") -> "torch.Tensor":
    """What the run's 4 or 8 bits kept of a matrix, float32."""
    value = value.to(torch_dtype(job.run.contract.dtype)).to(job.device)
    rounding = ROUNDINGS[job.run.plan.base]
    result = rounding(value.T).T if job.transposed else rounding(value)
    return result.cpu()


def _adapted(value: "torch.Tensor", adapter: Adapter) -> "torch.Tensor":
    """A matrix with its adapter's product added, in float32 or the wider type it is in."""
    import torch

    wide = value.to(torch.promote_types(value.dtype, torch.float32))
    a, b = (load_tensor(entry).to(wide.dtype) for entry in (adapter.a, adapter.b))
    if adapter.transposed:
        return wide.addmm_(a.T, b.T, alpha=adapter.scale)
    return wide.addmm_(b, a, alpha=adapter.scale)


def _narrowed(value: "torch.Tensor", tensor: StoredTensor, *, is_ours: bool) -> "torch.Tensor":
    """`value` in the type that is written; refused where that type, or the run, has no number."""
    import torch

    shown = few_names([tensor.name])
    if is_ours and not torch.isfinite(value).all():
        raise CheckpointError(
            f"{shown}: the run left values that are not finite", "train again at a lower rate"
        )
    narrow = value.to(torch_dtype(tensor.dtype))
    if bool(torch.isinf(narrow).any()) and not bool(torch.isinf(value).any()):
        raise OutputError(
            f"{shown}: {tensor.dtype} cannot hold its largest value, {value.abs().max():.3g}",
            "write the model in --dtype bfloat16 or float32",
        )
    return narrow
