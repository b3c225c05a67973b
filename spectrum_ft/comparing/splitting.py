"""Training data parted in two: what is trained on, and what learning rates are chosen on."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from spectrum_ft.records.comparisons import CompareError
from spectrum_ft.writing import write_file


def split(rows: Sequence[Any], share: float) -> tuple[list[Any], list[Any]]:
    """`rows` without a `share` of them, and that share: drawn at random, but always the same.

    Rows that are equal stay together, or what is validated on would have been learned by heart.
    Both keep the order of `rows`. Raises `CompareError` if either would be empty.
    """
    try:
        contents = [json.dumps(row, sort_keys=True, allow_nan=False) for row in rows]
    except (TypeError, ValueError):
        raise CompareError(
            "the training data hold values that are neither text, numbers nor lists of them",
            "leave those columns out",
        ) from None
    wanted = max(1, round(share * len(rows)))
    copies = Counter(contents)
    held_out: set[str] = set()
    taken = 0
    in_turn = Random("validation").sample(list(copies), len(copies))
    for content in in_turn[:-1]:  # something is left to train on
        if taken >= wanted:
            break
        held_out.add(content)
        taken += copies[content]
    parts = (
        [row for row, content in zip(rows, contents, strict=True) if content not in held_out],
        [row for row, content in zip(rows, contents, strict=True) if content in held_out],
    )
    if not all(parts):
        raise CompareError(
            f"{len(rows):,} examples cannot be parted in training and validation",
            "give more data, or one learning rate for each arm",
        )
    return parts


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    """Write `rows` to `path` as JSON lines."""
    write_file(path, "".join(json.dumps(row) + "\n" for row in rows), force=True)
