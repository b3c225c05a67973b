"""The forecast: how much memory training under a plan takes, from names and shapes alone.

The fullest moment of a step counts, see `forecasting.moments`. On a GPU it is what torch's
allocator hands out: leave room for the driver and for fragments. On a CPU it is what the process
takes beyond the imported libraries, where freed blocks go back to the system, as glibc's above a
fixed `M_MMAP_THRESHOLD` do; left to itself, glibc was seen to keep up to a half more.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.naming import Place, place_tensors
from spectrum_ft.errors import PlanError, few_names
from spectrum_ft.forecasting.activations import Pass
from spectrum_ft.forecasting.architecture import Architecture, Shapes, architecture_of
from spectrum_ft.forecasting.keeping import (
    BFLOAT16,
    FLOAT32,
    OPTIMIZERS,
    is_quantizable,
    quantized_bytes,
    state_bytes,
    trained_weight_bytes,
)
from spectrum_ft.forecasting.moments import Gradients, HeadWork, Moment, step_moments
from spectrum_ft.forecasting.training_shape import TrainingShape as TrainingShape
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import Plan

_LIBRARIES_CPU = 60 * 10**6
"""What libraries take when they are first used: code, threads' stacks, scratch. 50 to 90 MB were
measured on a CPU, the more the more of them; on a GPU none of it is the allocator's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trained:
    """One tensor that is updated, a weight of an adapter included."""

    under: str
    """The checkpoint's tensor that it is, or that its adapter sits on."""
    shape: tuple[int, ...]
    """Its extents."""
    number_bytes: int
    """Bytes of one of its numbers, and of its gradient's."""

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.number_bytes


def forecast(plan: Plan, shapes: Shapes, shape: TrainingShape) -> Forecast:
    """The memory that training `plan` takes, on a model of tensors of these `shapes`.

    Milliseconds of arithmetic. Raises `PlanError` where the shape of a tensor of the plan is not
    known (an import), or where no blocks can be told in the model.
    """
    return forecasts(shapes, shape)(plan)


def forecasts(shapes: Shapes, shape: TrainingShape) -> Callable[[Plan], Forecast]:
    """What `forecast` says of any plan for one model: its tensors are placed once."""
    if not any(shapes.values()):
        raise PlanError(
            "the shapes of this model are not known, so its memory cannot be forecast",
            "scan the model itself",
        )
    places = place_tensors(list(shapes))
    model = architecture_of(shapes, places)

    def forecast_of(plan: Plan) -> Forecast:
        if strays := [name for name in plan.reached if name not in shapes]:
            raise PlanError(
                f"the plan names tensors that this model does not have: {few_names(strays)}",
                "make it for this model",
            )
        return _forecast(plan, model, shapes, places, shape)

    return forecast_of


def _forecast(
    plan: Plan,
    model: Architecture,
    shapes: Shapes,
    places: Mapping[str, Place],
    shape: TrainingShape,
) -> Forecast:
    trained = _trained_tensors(plan, shapes, shape)
    kept = _kept_weights(plan, shapes, places, shape)
    step = _in_a_step(plan, model, shapes, places, trained, shape, kept=kept)
    if shape.device == "cuda" or plan.base == "as-is":
        return step
    return max(step, _while_loading(shapes, shape, kept=kept), key=lambda f: f.total_bytes)


def _in_a_step(
    plan: Plan,
    model: Architecture,
    shapes: Shapes,
    places: Mapping[str, Place],
    trained: Sequence[_Trained],
    shape: TrainingShape,
    *,
    kept: int,
) -> Forecast:
    """The fullest moment of a step; `kept` are the bytes of the checkpoint's own tensors."""
    train = set(plan.train)
    weights = kept + sum(t.num_bytes for t in trained if t.under not in train)
    optimizer = OPTIMIZERS[shape.optimizer]
    states = sum(state_bytes(t.shape, optimizer, t.number_bytes) for t in trained)
    moments = _moments(plan, model, shapes, places, trained, shape)
    fullest = max(moments, key=lambda moment: moment.total)
    libraries = _LIBRARIES_CPU if shape.device == "cpu" else 0
    return Forecast(
        device=shape.device,
        moment=fullest.name,
        weights_bytes=weights,
        gradients_bytes=fullest.gradients,
        optimizer_bytes=states,
        activations_bytes=fullest.activations,
        buffers_bytes=fullest.buffers + libraries,
        total_bytes=weights + states + fullest.total + libraries,
    )


def _while_loading(shapes: Shapes, shape: TrainingShape, *, kept: int) -> Forecast:
    """On a CPU the file is mapped while its matrices are quantized, and counts as memory."""
    mapped = sum(math.prod(extents) for extents in shapes.values()) * shape.compute_bytes
    buffers = mapped + _LIBRARIES_CPU
    return Forecast(
        device=shape.device,
        moment="load",
        weights_bytes=kept,
        gradients_bytes=0,
        optimizer_bytes=0,
        activations_bytes=0,
        buffers_bytes=buffers,
        total_bytes=kept + buffers,
    )


def _kept_weights(
    plan: Plan, shapes: Shapes, places: Mapping[str, Place], shape: TrainingShape
) -> int:
    """The bytes of the checkpoint's tensors as training keeps them."""
    train, compute = set(plan.train), shape.compute_bytes
    kept = 0
    for name, extents in shapes.items():
        if name in train:
            kept += math.prod(extents) * trained_weight_bytes(shape.precision, compute)
        elif is_quantizable(name, extents, places[name]):
            kept += quantized_bytes(extents, plan.base, compute)
        else:
            kept += math.prod(extents) * compute
    return kept


def _trained_tensors(plan: Plan, shapes: Shapes, shape: TrainingShape) -> list[_Trained]:
    """Everything that is updated; adapters are float32 pairs, (r, n) and (m, r)."""
    number_bytes = trained_weight_bytes(shape.precision, shape.compute_bytes)
    trained = [
        _Trained(under=name, shape=tuple(shapes[name]), number_bytes=number_bytes)
        for name in plan.train
    ]
    if plan.lora is not None:
        trained += [
            _Trained(under=name, shape=pair, number_bytes=FLOAT32)
            for name in plan.lora.matrices
            for rows, columns in [shapes[name]]
            for pair in ((plan.lora.r, columns), (rows, plan.lora.r))
        ]
    return trained


def _moments(
    plan: Plan,
    model: Architecture,
    shapes: Shapes,
    places: Mapping[str, Place],
    trained: Sequence[_Trained],
    shape: TrainingShape,
) -> Iterator[Moment]:
    """The moments of a step, see `step_moments`."""
    compute = shape.compute_bytes
    trained_bytes = trained_weight_bytes(shape.precision, compute)
    train = frozenset(plan.train)
    adapted = frozenset(plan.adapted)
    # An embedding that trains in float32 makes the whole residual stream float32.
    wide_stream = trained_bytes == FLOAT32 and not train.isdisjoint(model.before)
    run = Pass(
        tokens=shape.tokens,
        length=shape.max_length,
        compute_bytes=compute,
        autocast=compute == BFLOAT16,
        rounds_trained=compute == BFLOAT16 and trained_bytes == FLOAT32,
        wide_stream=wide_stream,
        padded=shape.batch_size > 1 if shape.padded is None else shape.padded,
        on_gpu=shape.device == "cuda",
        train=train,
        adapted=adapted,
        lora=plan.lora,
    )
    optimizer = OPTIMIZERS[shape.optimizer]
    largest = _largest_parameter(model, trained)
    one_by_one = optimizer.work_copies + (2 if shape.precision == "stochastic" else 0)
    at_once = optimizer.works_on_all and shape.device == "cuda"
    return step_moments(
        model,
        run,
        _gradients(model, places, trained),
        _head_work(model, places, trained, train, shape),
        stream_bytes=FLOAT32 if wide_stream else compute,
        checkpointing=shape.gradient_checkpointing,
        accumulates=shape.grad_accum > 1,
        unpacked=_unpacked(plan, shapes, places, compute),
        step_work=sum(t.num_bytes for t in trained) if at_once else one_by_one * largest,
    )


def _largest_parameter(model: Architecture, trained: Sequence[_Trained]) -> int:
    """The bytes of the largest parameter that trains: in the model a block's experts share two."""
    sizes = {tensor.under: tensor.num_bytes for tensor in trained}
    shared = (
        sum(
            sizes.get(name, 0)
            for m in mlp.matrices
            if (m.flow == "down") is down
            for name in m.names
        )
        for block in model.blocks
        for mlp in block.mlps
        if mlp.routed
        for down in (False, True)
    )
    return max((*(tensor.num_bytes for tensor in trained), *shared), default=0)


def _gradients(
    model: Architecture, places: Mapping[str, Place], trained: Sequence[_Trained]
) -> Gradients:
    block_of = {name: i for i, block in enumerate(model.blocks) for name in block.tensors}
    blocks, head, before = [0] * len(model.blocks), 0, 0
    for tensor in trained:
        if tensor.under in block_of:
            blocks[block_of[tensor.under]] += tensor.num_bytes
        elif _is_of_the_head(tensor.under, model, places):
            head += tensor.num_bytes
        else:
            before += tensor.num_bytes
    return Gradients(head=head, blocks=tuple(blocks), before=before)


def _is_of_the_head(name: str, model: Architecture, places: Mapping[str, Place]) -> bool:
    """Whether the gradient of this tensor outside the blocks comes before theirs."""
    role = places[name].role
    return role == "head" or (model.tied and role == "embedding") or name in model.final_norms


def _head_work(
    model: Architecture,
    places: Mapping[str, Place],
    trained: Sequence[_Trained],
    train: frozenset[str],
    shape: TrainingShape,
) -> HeadWork:
    role = "embedding" if model.tied else "head"
    labelled = shape.tokens if shape.labelled_tokens is None else shape.labelled_tokens
    return HeadWork(
        labelled=min(max(labelled, 0), shape.tokens),
        trained_bytes=sum(t.num_bytes for t in trained if places[t.under].role == role),
        norm_trains=not train.isdisjoint(model.final_norms),
    )


def _unpacked(plan: Plan, shapes: Shapes, places: Mapping[str, Place], compute: int) -> int:
    """The largest quantized matrix in compute precision: one is unpacked at a time."""
    if plan.base == "as-is":
        return 0
    train = set(plan.train)
    sizes = (
        math.prod(extents)
        for name, extents in shapes.items()
        if name not in train and is_quantizable(name, extents, places[name])
    )
    return compute * max(sizes, default=0)
