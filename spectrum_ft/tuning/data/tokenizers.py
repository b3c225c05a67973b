"""A model's tokenizer, as training needs it."""

from pathlib import Path
from typing import Any

from spectrum_ft.errors import CheckpointError


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer in `folder`, with a token to pad with; no code of the model's is run.

    Raises `CheckpointError` where there is none that transformers can read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (ValueError, OSError, KeyError, TypeError) as fault:
        raise CheckpointError(
            f"{folder}: no tokenizer that transformers can read ({str(fault).splitlines()[0]})",
            "training needs tokenizer.json and its companions beside the weights",
        ) from fault
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
