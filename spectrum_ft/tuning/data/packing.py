"""Several short examples in one row, none of which sees another."""

from typing import Any


def pack(dataset: Any, max_length: int) -> Any:
    """`dataset` with its rows packed into rows of at most `max_length` tokens, best fit first.

    TRL's packing, which keeps examples whole; the column `seq_lengths` says where each begins, and
    positions start anew there, which is what attention is masked by.
    """
    import datasets
    from trl import pack_dataset

    datasets.disable_progress_bars()
    return pack_dataset(dataset, seq_length=max_length, strategy="bfd")
