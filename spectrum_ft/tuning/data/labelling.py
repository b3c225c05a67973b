"""Texts as token ids, each with its label: the id itself if it is learned, else -100."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from spectrum_ft.errors import DataError
from spectrum_ft.tuning.data.chat_spans import Span, Written

UNLABELLED = -100
"""The label of a token that is not learned, as PyTorch's cross-entropy ignores it."""


class Labelled(NamedTuple):
    """One example as the model takes it; both lists have the same length."""

    ids: list[int]
    labels: list[int]


def label(texts: Sequence[Written], tokenizer: Any) -> Iterator[Labelled]:
    """The tokens of each text, those of its answers labelled.

    A token that an answer shares with what is before it or behind it is learned. The first token
    never is: nothing predicts it. Plain text gets the beginning that the tokenizer gives texts
    and the end-of-text token, which is learned; `DataError` if there is no such token.
    """
    tokenise = _by_offsets if tokenizer.is_fast else _by_pieces
    plain = any(text.plain for text in texts)
    opening = opening_tokens(tokenizer) if plain else []
    end = _end(tokenizer) if plain else -1
    for text, (ids, labels) in zip(texts, tokenise(texts, tokenizer), strict=True):
        if text.plain:
            if ids[: len(opening)] != opening:
                ids, labels = opening + ids, [UNLABELLED] * len(opening) + labels
            if ids[-1:] != [end]:
                ids, labels = [*ids, end], [*labels, end]
        yield Labelled(ids, [UNLABELLED, *labels[1:]] if labels else labels)


def opening_tokens(tokenizer: Any) -> list[int]:
    """The token that `tokenizer` puts before a text, in a list; an empty one if it does not."""
    around_nothing: list[int] = tokenizer("")["input_ids"]
    first = around_nothing[:1]
    return first if first == [tokenizer.bos_token_id] else []


def _end(tokenizer: Any) -> int:
    if tokenizer.eos_token_id is None:
        raise DataError(
            "the model's tokenizer names no end-of-text token, so no answer could ever end",
            "set eos_token in its tokenizer_config.json",
        )
    return int(tokenizer.eos_token_id)


def _by_offsets(texts: Sequence[Written], tokenizer: Any) -> Iterator[Labelled]:
    """Each text tokenised as a whole; offsets say which characters a token stands for."""
    found = tokenizer(
        [text.text for text in texts],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,
    )
    for text, ids, offsets in zip(texts, found["input_ids"], found["offset_mapping"], strict=True):
        starts = [start for start, _ in offsets]
        ends = [end for _, end in offsets]
        labels = [UNLABELLED] * len(ids)
        for span in text.answers:
            first, last = _tokens_in(span, starts, ends)
            labels[first:last] = ids[first:last]
        yield Labelled(ids, labels)


def _tokens_in(span: Span, starts: list[int], ends: list[int]) -> Span:
    """The tokens that stand for a character of `span`, by where tokens start and end.

    Some tokenizers trim the white space off a token's offsets, so that a token of nothing else is
    left with none, at the end of what it stands for.
    """
    first = bisect_right(ends, span[0])
    last = bisect_left(starts, span[1])
    while last < len(ends) and ends[last] == span[1]:
        last += 1
    return first, last


def _by_pieces(texts: Sequence[Written], tokenizer: Any) -> Iterator[Labelled]:
    """Each text tokenised in pieces, cut where an answer begins or ends: for want of offsets."""
    for text in texts:
        ids: list[int] = []
        labels: list[int] = []
        done = 0
        for start, end in [*text.answers, (len(text.text), len(text.text))]:
            before = _piece(tokenizer, text.text[done:start])
            answer = _piece(tokenizer, text.text[start:end])
            ids += before + answer
            labels += [UNLABELLED] * len(before) + answer
            done = end
        yield Labelled(ids, labels)


def _piece(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids if text else []
