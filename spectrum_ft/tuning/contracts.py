"""What a run is about to do, counted from the checkpoint's headers before anything is loaded."""

import hashlib
import json
import math
from collections.abc import Sequence

from spectrum_ft.errors import PlanError, TrainError, few_names
from spectrum_ft.planning.depth import lowest_trained_layer
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import Contract, TrainSettings
from spectrum_ft.tuning.bases import CONFIG, Base

# 64 KiB of each tensor, spread over it: reading all of a large model would take minutes.
_PIECES = 15
_PIECE_BYTES = 4096


def make_contract(
    base: Base,
    plan: Plan,
    settings: TrainSettings,
    *,
    quantized: Sequence[str],
    steps: int,
    device: str,
    forecast: Forecast | None,
    available_bytes: int,
) -> Contract:
    """The contract of training `base` under `plan`; `quantized` names the packed matrices."""
    sizes = {entry.name: entry.num_params for entry in base.checkpoint.entries}
    shapes = {entry.name: entry.shape for entry in base.checkpoint.entries}
    trained = sum(sizes[name] for name in plan.train)
    packed = sum(sizes[name] for name in quantized)
    total = base.checkpoint.num_params
    rank = plan.lora.r if plan.lora else 0
    return Contract(
        source=base.source,
        device=device,
        dtype=settings.dtype,
        precision=settings.precision,
        trained_tensors=len(plan.train),
        trained=trained,
        adapters=len(plan.adapted),
        adapter_weights=sum(rank * sum(shapes[name]) for name in plan.adapted),
        quantized=packed,
        frozen=total - trained - packed,
        total=total,
        base=plan.base,
        lowest_layer=lowest_trained_layer(base.checkpoint.places, plan.reached),
        layers=base.checkpoint.num_layers,
        steps=steps,
        forecast=forecast,
        available_bytes=available_bytes,
    )


def check_names(base: Base, plan: Plan) -> None:
    """Raise `PlanError` for names of `plan` that the base's folder does not hold."""
    from difflib import get_close_matches

    known = {entry.name for entry in base.checkpoint.entries}
    if not plan.reached:
        raise PlanError("this plan trains nothing", "plan again, or name what to train")
    unknown = [name for name in plan.reached if name not in known]
    if unknown:
        close = get_close_matches(unknown[0], known, n=3)
        raise PlanError(
            f"{len(unknown)} of the plan's names are not in this model: {few_names(unknown)}",
            f"did you mean {few_names(close)}?" if close else "was it made for another model?",
        )
    flat = {entry.name for entry in base.checkpoint.entries if len(entry.shape) != 2}
    bare = [
        name
        for name in plan.adapted
        if name in flat or base.checkpoint.places[name].role != "block"
    ]
    if bare:
        raise PlanError(
            f"{few_names(bare)}: not a matrix of a block, so no adapter fits",
            "leave it out of lora.matrices",
        )
    both = sorted(set(plan.train) & set(plan.adapted))
    if both:
        raise PlanError(
            f"{few_names(both)}: planned to train in full and to carry an adapter",
            "take it out of `train` or out of `lora.matrices`",
        )


def refuse_if_too_large(contract: Contract) -> None:
    """Raise `TrainError` if the forecast says that the run does not fit into memory."""
    forecast = contract.forecast
    if forecast is None or forecast.total_bytes <= contract.available_bytes:
        return
    needed = math.ceil(forecast.total_bytes / 2**20)
    there = contract.available_bytes // 2**20
    raise TrainError(
        f"training would take {needed:,} MiB on {contract.device}, {there:,} MiB are free",
        "plan a smaller share or --base nf4, lower --batch-size or --max-length, add "
        "--grad-checkpointing, or pass --ignore-forecast",
    )


def planned_steps(rows: int, settings: TrainSettings) -> int:
    """The optimizer steps that training on `rows` rows takes."""
    if settings.max_steps is not None:
        return settings.max_steps
    batches = math.ceil(rows / settings.batch_size)
    return math.ceil(settings.epochs * math.ceil(batches / settings.grad_accum))


def model_digest(base: Base) -> str:
    """What tells the base from others: SHA-256 over its config and a sample of every tensor."""
    digest = hashlib.sha256((base.folder / CONFIG).read_bytes())
    for entry in base.checkpoint.entries:
        digest.update(json.dumps([entry.name, entry.dtype, list(entry.shape)]).encode())
        last = max(0, entry.num_bytes - _PIECE_BYTES)
        for start in sorted({last * piece // _PIECES for piece in range(_PIECES + 1)}):
            count = min(entry.num_bytes, _PIECE_BYTES)
            digest.update(entry.file.read_range(entry.offset + start, count).data)
    return digest.hexdigest()
