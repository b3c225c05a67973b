"""Rows of different lengths as one batch: padded to the longest, or end to end without padding."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from spectrum_ft.tuning.losses import evaluating

Row = Mapping[str, Sequence[int]]

_APART = 1e-2


class Collator:
    """Makes batches of rows, in whichever of the two forms takes fewer operations.

    End to end, positions start anew with each row and attention is masked to it. That saves what
    padding costs, but every token is then held against all tokens of the batch: with rows of
    lengths T and a block of P weights and H hidden units, in multiply-adds a block,

        padded      rows * max(T) * (P + 2 H max(T))
        end to end  sum(T) * (P + 2 H sum(T))
    """

    def __init__(self, *, pad_token_id: int, block_weights: int, hidden: int, flat: bool) -> None:
        self._padded = DataCollatorForLanguageModeling(pad_token_id=pad_token_id)
        self._flat = DataCollatorForLanguageModeling(pad_token_id=pad_token_id, padding_free=True)
        self._weights = block_weights
        self._hidden = hidden
        self._may_flatten = flat

    def __call__(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """The batch of `rows`, each with `input_ids`, `labels` and, if packed, `seq_lengths`."""
        batch: dict[str, Tensor] = (self._flat if self._flattens(rows) else self._padded)(rows)
        return batch

    def _flattens(self, rows: Sequence[Row]) -> bool:
        if "seq_lengths" in rows[0]:
            return True
        lengths = [len(row["input_ids"]) for row in rows]
        padded = len(rows) * self._operations(max(lengths), max(lengths))
        return self._may_flatten and self._operations(sum(lengths), sum(lengths)) < padded

    def _operations(self, tokens: int, context: int) -> int:
        return tokens * (self._weights + 2 * self._hidden * context)


@torch.no_grad()
def keeps_rows_apart(model: Any) -> bool:
    """Whether rows laid end to end see nothing of each other in `model`, which is tried out.

    Two short rows must give the same logits together as alone, within 1 % of the largest, and the
    second one's must not depend on the first one's tokens: within 1e-5, or 1e-2 under autocast,
    where sums are rounded coarsely.
    """
    device = next(model.parameters()).device
    rows = [torch.arange(3, 8, device=device), torch.arange(9, 13, device=device)]
    positions = torch.cat([torch.arange(len(row), device=device) for row in rows])[None]

    def logits(*together: Tensor) -> Tensor:
        ids = torch.cat(together)[None]
        return model(  # type: ignore[no-any-return]
            input_ids=ids, position_ids=positions[:, : ids.shape[1]], use_cache=False
        ).logits[0]

    with evaluating(model):
        alone = torch.cat([logits(row) for row in rows])
        joint = logits(*rows)
        other = logits(rows[0] + 10, rows[1])
    largest = alone.abs().max()
    second = slice(len(rows[0]), None)
    leak = 1e-2 if torch.is_autocast_enabled(device.type) else 1e-5
    same = (alone - joint).abs().max() <= _APART * largest
    return bool(same and (joint[second] - other[second]).abs().max() <= leak * largest)
