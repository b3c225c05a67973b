"""The loss on the positions that are learned, without scoring the others.

In supervised fine-tuning a small part of all positions is learned, while the head (hidden size x
vocabulary) is a large part of a small model. So only those positions go through it.
"""

from collections.abc import Mapping
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
    return functional.cross_entropy(logits.float(), targets, reduction="sum"), len(targets)


@torch.no_grad()
def held_out_loss(model: Any, head: nn.Module, batches: Any) -> float:
    """The mean loss of all learned tokens in `batches`, in nats a token; draws nothing at random.

    Modules with packed weights are left in training mode, which changes nothing in what they
    compute: in evaluation mode bitsandbytes may lay them out anew.
    """
    modes = [(module, module.training) for module in model.modules()]
    total, count = 0.0, 0
    try:
        for module, _ in modes:
            weight = getattr(module, "weight", None)
            packed = isinstance(weight, Tensor) and not weight.is_floating_point()
            module.training = packed
        for inputs in batches:
            loss, learned = summed_loss(model, head, inputs)
            total += loss.item()
            count += learned
    finally:
        for module, mode in modes:
            module.training = mode
    return total / max(count, 1)
