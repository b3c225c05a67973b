"""Training data made on the spot, and small real tokenizers to encode it with."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SHARED = Path(__file__).parents[2] / "shared" / "data"

INSTRUCTION = "Name the intent of the customer's message."
"""The system's turn in front of every Banking77 message."""

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""A chat template of the plainest kind."""

_TEXTS = [
    "I am still waiting on my card, what can I do? Where is it?",
    "The answer is 42. Yes, no, hello there, good night.",
    "system user assistant tool\n  indented    code\n\n\nNatalia sold 48/2 = 24 clips in May.",
]


def shared_or_skip(name: str) -> Path:
    """The file `name` among the shared data; the test is skipped where there is none."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/data/{name}")
    return path


def banking77_messages(path: Path, n: int = 100, split: str = "train") -> Path:
    """`path`, written with `n` Banking77 conversations, evenly spread over the file's intents.

    System: what is asked for. User: the message. Assistant: its category.
    """
    with shared_or_skip(f"banking77/{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = [rows[i * len(rows) // n] for i in range(n)]
    return write_jsonl(path, ({"messages": banking77_turns(row)} for row in chosen))


def banking77_turns(row: Mapping[str, str]) -> list[dict[str, str]]:
    """The three turns of one Banking77 row."""
    return [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": row["text"]},
        {"role": "assistant", "content": row["category"]},
    ]


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    """`path`, written with one row a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def turns(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    """A conversation in which user and assistant take turns, the user first."""
    spoken = [
        {"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)
    ]
    return spoken if system is None else [{"role": "system", "content": system}, *spoken]


def small_tokenizer(template: str | None = CHATML, *, trim_offsets: bool = False) -> Any:
    """A byte-level BPE tokenizer of a few hundred tokens, with the markers of ChatML."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(_TEXTS * 3, trainer)
    if trim_offsets:
        from tokenizers import processors

        inner.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = template
    return tokenizer
