"""All of a training run that can be checked before the model is loaded."""

import math
from dataclasses import dataclass
from typing import Any

from spectrum_ft.errors import DataError
from spectrum_ft.memory import TrainingShape, forecast
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import Contract, DataSummary, TrainSettings
from spectrum_ft.tuning.bases import Base, fit_plan, open_base, read_config
from spectrum_ft.tuning.contracts import (
    check_names,
    make_contract,
    planned_steps,
    refuse_if_too_large,
)
from spectrum_ft.tuning.data.encoding import Encoded, encode
from spectrum_ft.tuning.data.files import read_rows
from spectrum_ft.tuning.data.labelling import UNLABELLED
from spectrum_ft.tuning.data.packing import pack
from spectrum_ft.tuning.data.tokenizers import read_tokenizer
from spectrum_ft.tuning.devices import decide, device_name, torch_device
from spectrum_ft.tuning.loading import planned_quantized
from spectrum_ft.tuning.optimizing import check_optimizer, check_rounding
from spectrum_ft.tuning.process_memory import available_bytes


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run whose model, plan, data and settings have been found to fit together."""

    base: Base
    """The model, as a folder."""
    plan: Plan
    """What trains, in the names of that folder."""
    settings: TrainSettings
    """How, with device and dtype decided."""
    contract: Contract
    """What the run will do."""
    data: DataSummary
    """The training data."""
    eval_data: DataSummary | None
    """The held-out data."""
    quantized: tuple[str, ...]
    """The matrices that will be packed, by checkpoint name."""
    tokenizer: Any
    """The model's tokenizer."""
    dataset: Any
    """The training data as tokens: columns `input_ids` and `labels`."""
    eval_dataset: Any
    """The held-out data likewise, or None."""


def prepare(
    source: str, plan: Plan, settings: TrainSettings, *, ignore_forecast: bool = False
) -> Prepared:
    """A run of `source` under `plan`, checked; nothing is loaded and nothing is written.

    Raises the `SpectrumError` of whatever is wrong: the plan or the data do not fit the model, a
    setting cannot be honoured here, and unless `ignore_forecast`, memory would not suffice.
    """
    settings = decide(settings)
    check_optimizer(settings.optimizer, settings.device)
    check_rounding(settings.optimizer, settings.precision)
    base = open_base(source)
    plan = fit_plan(plan, base)
    check_names(base, plan)
    tokenizer = read_tokenizer(base.folder)
    held_out = _encoded(settings.eval_data, tokenizer, settings) if settings.eval_data else None
    data = _encoded(settings.data, tokenizer, settings)
    dataset = pack(data.dataset, settings.max_length) if settings.packing else data.dataset
    for rows in (dataset, held_out.dataset if held_out else None):
        _check_rows(base, rows, settings)
    quantized = planned_quantized(base, plan)
    device = torch_device(settings)
    contract = make_contract(
        base,
        plan,
        settings,
        quantized=quantized,
        steps=planned_steps(len(dataset), settings),
        device=device_name(device),
        forecast=forecast_training(base, plan, settings, dataset),
        available_bytes=available_bytes(device),
    )
    if not ignore_forecast:
        refuse_if_too_large(contract)
    return Prepared(
        base=base,
        plan=plan,
        settings=settings,
        contract=contract,
        data=data.summary,
        eval_data=held_out.summary if held_out else None,
        quantized=quantized,
        tokenizer=tokenizer,
        dataset=dataset,
        eval_dataset=held_out.dataset if held_out else None,
    )


def _check_rows(base: Base, rows: Any, settings: TrainSettings) -> None:
    """Raise `DataError` for tokens that the model does not have, or more than it has positions."""
    config = read_config(base.folder).get_text_config()
    highest = max((max(ids) for ids in rows["input_ids"]), default=0) if rows is not None else 0
    if highest >= config.vocab_size:
        raise DataError(
            f"the tokenizer gives token {highest:,}, and the model has {config.vocab_size:,}",
            "give the tokenizer that belongs to the model",
        )
    limit = getattr(config, "max_position_embeddings", None)
    if rows is None or limit is None or getattr(config, "rope_parameters", None):
        return  # positions that are computed reach further, if not always well
    longest = max(len(ids) for ids in rows["input_ids"])
    if longest > limit and not settings.packing:
        raise DataError(
            f"examples of {longest:,} tokens, and the model has {limit:,} positions",
            f"pass --max-length {limit}",
        )


def forecast_training(base: Base, plan: Plan, settings: TrainSettings, dataset: Any) -> Forecast:
    """The memory of the largest batch that there could be: the longest rows, all in one.

    On a CPU they lie end to end and take their own lengths, elsewhere they are padded.
    """
    lengths = sorted(len(ids) for ids in dataset["input_ids"])
    largest = lengths[-settings.batch_size :]
    on_cpu = settings.device == "cpu"
    learned = sorted(sum(label != UNLABELLED for label in row) for row in dataset["labels"])
    shape = TrainingShape(
        batch_size=len(largest),
        max_length=math.ceil(sum(largest) / len(largest)) if on_cpu else lengths[-1],
        precision=settings.precision,
        optimizer=settings.optimizer,
        gradient_checkpointing=settings.grad_checkpointing,
        device="cuda" if settings.device == "cuda" else "cpu",
        dtype=settings.dtype,
        labelled_tokens=sum(learned[-settings.batch_size :]),
        grad_accum=settings.grad_accum,
        padded=len(set(lengths)) > 1 and settings.batch_size > 1,
    )
    shapes = {entry.name: entry.shape for entry in base.checkpoint.entries}
    return forecast(plan, shapes, shape)


def _encoded(source: str, tokenizer: Any, settings: TrainSettings) -> Encoded:
    rows = read_rows(source, settings.columns)
    return encode(rows, tokenizer, max_length=settings.max_length, train_on=settings.train_on)
