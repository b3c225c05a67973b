"""The loss on the positions that are learned, without scoring the others.

In supervised fine-tuning a small part of all positions is learned, while the head (hidden size x
vocabulary) is a large part of a small model. So only those positions go through it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORED = -100
"""The label of a position that is not learned, torch's own default."""


def learned_positions(labels: Tensor) -> Tensor:
    """Which positions predict a learned token: boolean, (rows, length - 1)."""
    return labels[:, 1:] != IGNORED


def summed_loss(model: Any, head: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[Tensor, int]:
    """The summed cross-entropy of the learned tokens in nats, and how many they are.

    `inputs` holds `input_ids` and `labels`, (rows, length), and what else `model` takes. The
    hidden states of the positions that are not learned are dropped in front of `head`, so that
    whatever the model does to its logits (scaling, soft caps) is done to the others as always.
    """
    logits, targets = _learned_logits(model, head, inputs)
    return functional.cross_entropy(logits, targets, reduction="sum"), len(targets)


@torch.no_grad()
def row_losses(
    model: Any, head: nn.Module, inputs: Mapping[str, Tensor]
) -> list[tuple[float, int]]:
    """What `summed_loss` returns, for each row of `inputs` on its own."""
    logits, targets = _learned_logits(model, head, inputs)
    losses = functional.cross_entropy(logits, targets, reduction="none").double()
    counts = learned_positions(inputs["labels"]).sum(dim=1).tolist()
    return [
        (float(of_row.sum()), count)
        for of_row, count in zip(torch.split(losses, counts), counts, strict=True)
    ]


def _learned_logits(
    model: Any, head: nn.Module, inputs: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The logits of the positions that predict a learned token, row by row, and those tokens."""
    labels = inputs["labels"]
    learned = learned_positions(labels)  # (rows, length - 1)
    targets = labels[:, 1:][learned]  # (learned)

    def keep_learned(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *rest = arguments  # (rows, length, hidden)
        return (hidden[:, :-1][learned][None], *rest)  # (1, learned, hidden)

    rest = {name: value for name, value in inputs.items() if name != "labels"}
    handle = head.register_forward_pre_hook(keep_learned)
    try:
        logits = model(**rest, use_cache=False).logits[0]  # (learned, vocabulary)
    finally:
        handle.remove()
    return logits.float(), targets


@torch.no_grad()
def held_out_loss(model: Any, head: nn.Module, batches: Iterable[Mapping[str, Tensor]]) -> float:
    """The mean loss of all learned tokens in `batches`, in nats; draws nothing at random."""
    total, count = 0.0, 0
    with evaluating(model):
        for inputs in batches:
            loss, learned = summed_loss(model, head, inputs)
            total += loss.item()
            count += learned
    return total / max(count, 1)


@contextmanager
def in_one_type(model: nn.Module) -> Iterator[None]:
    """Compute in bfloat16 where float32 masters stand beside bfloat16 weights, as training does."""
    types = {p.dtype for p in model.parameters() if p.is_floating_point()}
    mixed = types == {torch.float32, torch.bfloat16}
    device = next(model.parameters()).device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed):
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """`model` without dropout inside, and each of its modules in its own mode again after it.

    Modules with packed weights stay in training mode, which has no other meaning for them: in
    evaluation mode bitsandbytes may lay them out anew, and computes with other kernels.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            weight = getattr(module, "weight", None)
            module.training = isinstance(weight, Tensor) and not weight.is_floating_point()
        yield
    finally:
        for module, mode in modes:
            module.training = mode
