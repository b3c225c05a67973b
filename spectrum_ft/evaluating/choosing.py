"""Multiple choice by likelihood: which of a few answers the model finds most likely."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spectrum_ft.evaluating.generating import base_of
from spectrum_ft.tuning.data.labelling import UNLABELLED, Labelled


@torch.no_grad()
def choice_scores(model: Any, choices: Sequence[Labelled], batch_size: int = 32) -> list[float]:
    """The summed log-likelihood of the learned tokens of each of `choices`, in nats.

    All begin with the same prompt, which goes through the model once; the choices follow,
    `batch_size` at once. The token that ends an
    answer counts, so that one that is the beginning of another is told apart from it.
    """
    inner = base_of(model)
    device = next(inner.parameters()).device
    shared = _shared_beginning(choices)
    prompt = torch.tensor([choices[0].ids[:shared]], device=device)
    begun = inner(input_ids=prompt, use_cache=True, logits_to_keep=1)
    found: list[float] = []
    for start in range(0, len(choices), batch_size):
        # Entries of a cache are added in place: every batch has a copy of the prompt's.
        cache = copy.deepcopy(begun.past_key_values)
        batch = choices[start : start + batch_size]
        found += _scores_behind(inner, cache, begun.logits[:, -1:], shared, batch)
    return found


def _scores_behind(
    inner: Any, cache: Any, last: Tensor, shared: int, choices: Sequence[Labelled]
) -> list[float]:
    """The scores of `choices` behind the prompt in `cache`, whose `last` logits these are."""
    device = last.device
    cache.batch_repeat_interleave(len(choices))
    rest = [choice.ids[shared:] for choice in choices]
    labels = [choice.labels[shared:] for choice in choices]
    ids, targets = _padded(rest, 0, device), _padded(labels, UNLABELLED, device)
    longest = ids.shape[1]
    mask = torch.ones(len(choices), shared + longest, dtype=torch.long, device=device)
    for row, tokens in enumerate(rest):
        mask[row, shared + len(tokens) :] = 0
    positions = torch.arange(shared, shared + longest, device=device)[None]
    logits = inner(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions.expand(len(choices), -1),
        past_key_values=cache,
        use_cache=True,
    ).logits  # (choices, longest, vocabulary)
    first = last.expand(len(choices), -1, -1)
    before = torch.cat([first, logits[:, :-1]], dim=1)  # what predicts each token
    losses = functional.cross_entropy(
        before.float().flatten(0, 1),
        targets.flatten(),
        ignore_index=UNLABELLED,
        reduction="none",
    )
    return [-float(total) for total in losses.view(len(choices), -1).double().sum(dim=1)]


def _shared_beginning(choices: Sequence[Labelled]) -> int:
    """How many tokens all of `choices` begin with, none of them learned; at least one."""
    shared = min(
        next(i for i, label in enumerate(choice.labels) if label != UNLABELLED)
        for choice in choices
    )
    first = choices[0].ids
    while any(choice.ids[:shared] != first[:shared] for choice in choices):
        shared -= 1
    return shared


def _padded(rows: Sequence[Sequence[int]], filler: int, device: torch.device) -> Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows], device=device)
