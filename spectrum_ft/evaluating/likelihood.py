"""The loss on expected answers, question by question, and on a general text."""

import os.path
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from spectrum_ft.errors import DataError
from spectrum_ft.tuning.data.encoding import encode
from spectrum_ft.tuning.data.files import read_rows
from spectrum_ft.tuning.data.labelling import UNLABELLED, Labelled
from spectrum_ft.tuning.losses import row_losses

_TEXT = ".txt"
_MOST_LEARNED = 2048
"""Learned tokens of a batch, at most: each has a row of logits as wide as the vocabulary."""

_WINDOW = 512  # tokens of a general text that are read at once, at most


def losses(
    model: Any, examples: Sequence[Labelled], *, batch_size: int, pad_token_id: int | None
) -> Iterator[tuple[int, float, int]]:
    """The index of each example, its summed loss in nats, and its learned tokens, as they come.

    Batches are smaller than `batch_size` where much is learned.
    """
    device = next(model.parameters()).device
    head = model.get_output_embeddings()
    by_length = sorted(range(len(examples)), key=lambda i: -len(examples[i].ids))
    for batch in _batches(by_length, examples, batch_size):
        longest = len(examples[batch[0]].ids)
        ids = torch.full((len(batch), longest), pad_token_id or 0)  # masked
        labels = torch.full((len(batch), longest), UNLABELLED)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(batch):
            length = len(examples[i].ids)
            ids[row, :length] = torch.tensor(examples[i].ids)
            labels[row, :length] = torch.tensor(examples[i].labels)
            mask[row, :length] = 1
        inputs = {"input_ids": ids, "labels": labels, "attention_mask": mask}
        found = row_losses(model, head, {name: t.to(device) for name, t in inputs.items()})
        for i, (loss, count) in zip(batch, found, strict=True):
            yield i, loss, count


def _batches(
    order: Sequence[int], examples: Sequence[Labelled], batch_size: int
) -> Iterator[list[int]]:
    batch: list[int] = []
    learned = 0
    for i in order:
        labels = examples[i].labels
        count = len(labels) - labels.count(UNLABELLED)
        if batch and (len(batch) == batch_size or learned + count > _MOST_LEARNED):
            yield batch
            batch, learned = [], 0
        batch.append(i)
        learned += count
    if batch:
        yield batch


def read_general(source: str, tokenizer: Any, max_length: int) -> list[Labelled]:
    """A general text in windows of at most 512 tokens, in which every token but the first counts.

    `source` is a .txt file in UTF-8, or a data set as for training, of which every token counts.
    Raises `DataError`.
    """
    if not source.lower().endswith(_TEXT):
        data = encode(
            read_rows(source), tokenizer, max_length=max_length, train_on="everything"
        ).dataset
        return [Labelled(row["input_ids"], row["labels"]) for row in data]
    text = _read_text(source)
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    window = min(_WINDOW, max(2, max_length))
    windows = [ids[start : start + window] for start in range(0, len(ids), window)]
    found = [Labelled(part, [UNLABELLED, *part[1:]]) for part in windows if len(part) > 1]
    if not found:
        raise DataError(f"{source}: too short a text", "give a few hundred words or more")
    return found


def _read_text(source: str) -> str:
    if not os.path.isfile(source):  # a pipe would be waited for
        raise DataError(f"{source}: cannot be read (no such file)", "give the path of a text")
    try:
        text = Path(source).read_text("utf-8-sig")
    except OSError as fault:
        raise DataError(
            f"{source}: cannot be read ({fault.strerror})", "check that it is there and yours"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{source}: not text in UTF-8", "save it as UTF-8") from None
    if not text.strip():
        raise DataError(f"{source}: an empty text", "give a few hundred words or more")
    if "\0" in text:
        raise DataError(f"{source}: not text", "give plain text")
    return text
