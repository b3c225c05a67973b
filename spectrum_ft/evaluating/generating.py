"""Generating answers, many at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

_SEEDS = 2**63  # torch takes no larger ones


def base_of(model: Any) -> Any:
    """The transformers model under PEFT's wrapper, adapters inside, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    ends: Sequence[int],
    batch_size: int,
    temperature: float | None = None,
    seed: int = 0,
) -> Iterator[tuple[int, list[int]]]:
    """The index of each prompt with the tokens generated after it, as they are done.

    An answer ends before the first of `ends`. The most likely token is taken each time; with a
    `temperature` they are drawn, by a generator of our own that starts from `seed`. Prompts of
    like lengths are computed together; what is generated does not depend on the company but for
    rounding. The model's own settings of generation play no part.
    """
    inner = base_of(model)
    device = next(inner.parameters()).device
    pad = tokenizer.pad_token_id or 0  # masked: any token will do
    # top_k 0: transformers would draw from the 50 likeliest alone.
    drawn = {} if temperature is None else {"temperature": temperature, "top_k": 0, "top_p": 1.0}
    config = type(inner.generation_config)(
        max_new_tokens=max_new_tokens,
        do_sample=temperature is not None,
        eos_token_id=list(ends) or None,
        pad_token_id=pad,
        use_cache=True,
        **drawn,
    )
    by_length = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    devices = [device] if device.type == "cuda" else []
    for start in range(0, len(by_length), batch_size):
        batch = by_length[start : start + batch_size]
        longest = max(len(prompts[i]) for i in batch)
        ids = torch.full((len(batch), longest), pad)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(batch):  # padded on the left, so that answers begin together
            ids[row, longest - len(prompts[i]) :] = torch.tensor(prompts[i])
            mask[row, longest - len(prompts[i]) :] = 1
        with torch.random.fork_rng(devices), _own_settings(inner, config):
            torch.manual_seed((seed * 1_000_003 + start) % _SEEDS)
            written = inner.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                generation_config=config,
            )
        for row, i in enumerate(batch):
            yield i, _until_end(written[row, longest:].tolist(), ends)


@contextmanager
def _own_settings(model: Any, config: Any) -> Iterator[None]:
    """Put the model's own settings aside: what ours leave open is filled in from them."""
    before = model.generation_config
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = before


def _until_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[:place]
    return tokens
