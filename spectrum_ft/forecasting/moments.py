"""A training step from moment to moment, each with what is in memory beside weights and states.

The forward pass fills up; the head's logits exist for some positions at a time; in the backward
pass activations go, from the last block to the first, while gradients come; the optimizer's step
has all gradients and no activations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from spectrum_ft.forecasting.activations import Pass, kept_by_block, work_of_block
from spectrum_ft.forecasting.architecture import Architecture
from spectrum_ft.forecasting.keeping import FLOAT32

_HEAD_CHUNK = 1024
"""Positions whose logits exist at the same time."""

_HEAD_COPIES = 3
"""Logits, their log-softmax and its gradient, (chunk, vocabulary) each in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is in memory at one moment, in bytes."""

    name: Literal["forward", "backward", "step"]
    """The part of the step that it belongs to."""
    gradients: int = 0
    """Gradients that exist."""
    activations: int = 0
    """What the forward pass has kept, and the backward pass not yet used up."""
    buffers: int = 0
    """What is needed for this moment only."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.gradients + self.activations + self.buffers


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """The bytes of all gradients, by where they come up in the backward pass."""

    head: int
    """Of the head, of the final norm, and of embeddings that are the head as well."""
    blocks: tuple[int, ...]
    """Of each block, from the first to the last."""
    before: int
    """Of what lies below the blocks."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.head + sum(self.blocks) + self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadWork:
    """What the head does in one pass."""

    labelled: int
    """Positions that it is computed on."""
    trained_bytes: int
    """Bytes of its weights' gradient; 0 if they do not train."""
    norm_trains: bool
    """Whether the norm before it trains."""


def step_moments(
    model: Architecture,
    run: Pass,
    gradients: Gradients,
    head: HeadWork,
    *,
    stream_bytes: int,
    checkpointing: bool,
    accumulates: bool,
    unpacked: int,
    step_work: int,
) -> Iterator[Moment]:
    """The moments of one step that may be its fullest.

    `stream_bytes` is the width of a number in the residual stream, `unpacked` the bytes of the
    largest quantized matrix in compute precision, `step_work` the optimizer's own temporary need.
    With `checkpointing` a block keeps its input alone and is computed again; where a step
    `accumulates` several passes, gradients of the earlier ones are there all the time.
    """
    flows = not run.train.isdisjoint(model.before)
    full: list[int] = []
    for block in model.blocks:
        kept, flows = kept_by_block(block, flows, run, model.hidden)
        full.append(kept)
    inputs = run.tokens * stream_bytes * model.hidden
    stays = [inputs if kept else 0 for kept in full] if checkpointing else full
    work = [work_of_block(block, run, model.hidden) + unpacked for block in model.blocks]
    there = gradients.total if accumulates else 0
    filled = [0, *accumulate(stays)]  # before the first block, after it, ...
    yield Moment(
        name="forward",
        gradients=there,
        activations=filled[-1],
        buffers=max(work, default=0),
    )
    yield from _in_the_head(
        model, head, filled[-1] + _final_norm_and_head(run, model, head, flows), gradients, there
    )
    yield from _through_blocks(full, filled, work, gradients, there, checkpointing)
    yield Moment(name="step", gradients=gradients.total, buffers=step_work)


def _through_blocks(
    full: Sequence[int],
    filled: Sequence[int],
    work: Sequence[int],
    gradients: Gradients,
    there: int,
    checkpointing: bool,
) -> Iterator[Moment]:
    come = gradients.head
    for i in reversed(range(len(full))):
        come += gradients.blocks[i]
        again = full[i] if checkpointing else 0
        if full[i]:
            yield Moment(
                name="backward",
                gradients=max(there, come),
                activations=filled[i + 1] + again,
                buffers=work[i],
            )


def _final_norm_and_head(run: Pass, model: Architecture, head: HeadWork, flows: bool) -> int:
    """The norm's input and root in float32, its result if it trains, and what the head reads."""
    if not (flows or head.norm_trains or head.trained_bytes):
        return 0
    norm = run.tokens * FLOAT32 * (flows * (model.hidden + 1) + head.norm_trains * model.hidden)
    read = (run.tokens + head.labelled) * run.compute_bytes * model.hidden
    weight = model.vocabulary * model.hidden
    copies = run.compute_bytes * weight if head.trained_bytes and run.rounds_trained else 0
    return norm + read + copies


def _in_the_head(
    model: Architecture, head: HeadWork, activations: int, gradients: Gradients, there: int
) -> Iterator[Moment]:
    """The logits of one chunk; when a second one comes, the head's gradient is there already."""
    one = min(head.labelled, _HEAD_CHUNK) * model.vocabulary * FLOAT32
    yield Moment(
        name="backward", gradients=there, activations=activations, buffers=_HEAD_COPIES * one
    )
    several = head.labelled > _HEAD_CHUNK
    yield Moment(
        name="backward",
        gradients=max(there, gradients.head),
        activations=activations,
        # The weight's gradient needs that of the logits only; it is added to the chunks' before.
        buffers=max(_HEAD_COPIES * one, one + head.trained_bytes) if several else one,
    )
