"""A data set as tokens and labels, ready to train on, and the account of what became of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from spectrum_ft.environment import shown_path
from spectrum_ft.errors import DataError
from spectrum_ft.records.training import DataSummary, TrainOn
from spectrum_ft.tuning.data.chat_spans import Written, find_answers, write_conversation
from spectrum_ft.tuning.data.labelling import UNLABELLED, Labelled, label
from spectrum_ft.tuning.data.rows import Row, Rows
from spectrum_ft.tuning.data.shapes import Passage, Shape, recognise

if TYPE_CHECKING:
    from datasets import Dataset

MAX_DROPPED_SHARE = 0.1
"""The most examples that may have nothing to learn, in [0, 1]."""

Reason = Literal["cut", "unanswered", "empty"]
"""Why an example has nothing to learn."""

_WORDS: dict[Reason, str] = {
    "cut": "with no answer within the first {max_length:,} tokens",
    "unanswered": "that do not end with the assistant's turn",
    "empty": "with nothing in the answer or text",
}
_REMEDIES: dict[Reason, str] = {
    "cut": "raise --max-length, or shorten the prompts",
    "unanswered": "give conversations that end with an answer, or train on everything",
    "empty": "fill the answers in, or leave those examples out",
}

_BATCH_ROWS = 1000
_BATCH_CHARACTERS = 2**22  # or fewer rows, of long texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A data set that is ready to train on."""

    dataset: "Dataset"
    """Columns `input_ids` and `labels`, of equal length in each row; order as in the file."""
    summary: DataSummary
    """What it came from, and what became of it."""


def encode(
    rows: Rows, tokenizer: Any, *, max_length: int, train_on: TrainOn = "completions"
) -> Encoded:
    """`rows` as token ids and labels for the model that `tokenizer` belongs to.

    Conversations are written by the model's chat template; plain text gets the end-of-text token.
    Only answers and completions are learned unless `train_on` is `everything`; plain text without
    a prompt always is. Examples of more than `max_length` tokens lose their end, and those left
    with nothing to learn are dropped; both are counted. Raises `DataError` for a row that does
    not fit the others, for conversations where there is no chat template, and if more than a
    tenth of the examples, or all, have nothing to learn.
    """
    import datasets
    import pyarrow

    if max_length < 2:
        raise DataError(
            f"examples of {max_length} tokens hold nothing to learn", "raise --max-length"
        )
    shape = recognise(rows)
    written = [write_example(shape, row, tokenizer, train_on) for row in rows.entries]
    dropped = Counter(one for one in written if not isinstance(one, Written))
    counts: Counter[str] = Counter()
    longest = 0
    tables = [_table([])]
    for batch in _batches(one for one in written if isinstance(one, Written)):
        kept: list[Labelled] = []
        for text, whole in zip(batch, label(batch, tokenizer), strict=True):
            longest = max(longest, len(whole.ids))
            one = Labelled(whole.ids[:max_length], whole.labels[:max_length])
            learned = len(one.labels) - one.labels.count(UNLABELLED)
            if not learned:
                dropped["cut"] += 1
                continue
            kept.append(one)
            counts["truncated"] += len(one.ids) < len(whole.ids)
            counts["last_only"] += text.last_only
            counts["tokens"] += len(one.ids)
            counts["learned"] += learned
        tables.append(_table(kept))
    _refuse_many(dropped, rows, max_length)
    table = pyarrow.concat_tables(tables)
    return Encoded(
        dataset=datasets.Dataset(table),
        summary=DataSummary(
            source=shown_path(rows.source),
            digest=rows.digest,
            shape=shape.said if tokenizer.chat_template else shape.said_plain or shape.said,
            rows=len(rows.entries),
            kept=table.num_rows,
            truncated=counts["truncated"],
            dropped=dropped.total(),
            tokens=counts["tokens"],
            learned_tokens=counts["learned"],
            longest=longest,
            last_answer_only=counts["last_only"],
        ),
    )


def _table(examples: Sequence[Labelled]) -> Any:
    """The examples as an Arrow table, which takes a tenth of the memory of Python's lists."""
    import pyarrow

    whole_numbers = pyarrow.list_(pyarrow.int32())
    return pyarrow.table(
        {
            "input_ids": pyarrow.array([one.ids for one in examples], whole_numbers),
            "labels": pyarrow.array([one.labels for one in examples], whole_numbers),
        }
    )


def write_example(shape: Shape, row: Row, tokenizer: Any, train_on: TrainOn) -> Written | Reason:
    """The example in `row` as text; the reason if it has nothing to learn.

    Raises `DataError` for a row that does not fit, and for conversations where the tokenizer has
    no chat template.
    """
    example = shape.read(row)
    if isinstance(example, Passage):
        return _write_passage(example, train_on)
    if not tokenizer.chat_template:
        if example.plain is not None:
            return _write_passage(example.plain, train_on)
        raise DataError(
            f"{row.place}: a conversation ({shape.said}), but the model has no chat template",
            "take the instruction-tuned version of the model, or give plain prompt and completion",
        )
    if train_on == "completions" and example.messages[-1]["role"] != "assistant":
        return "unanswered"
    if train_on == "everything":
        text = write_conversation(example, tokenizer, row.place)
        return Written(text=text, answers=((0, len(text)),))
    written = find_answers(example, tokenizer, row.place)
    return written if written.answers else "empty"


def _write_passage(passage: Passage, train_on: TrainOn) -> Written | Reason:
    if not passage.completion.strip():
        return "empty"
    text = passage.prompt + passage.completion
    start = len(passage.prompt) if train_on == "completions" else 0
    return Written(text=text, answers=((start, len(text)),), plain=True)


def _batches(texts: Iterable[Written]) -> Iterator[list[Written]]:
    """The texts in groups that a tokenizer takes at once without much memory."""
    batch: list[Written] = []
    num_characters = 0
    for text in texts:
        batch.append(text)
        num_characters += len(text.text)
        if len(batch) == _BATCH_ROWS or num_characters >= _BATCH_CHARACTERS:
            yield batch
            batch, num_characters = [], 0
    if batch:
        yield batch


def _refuse_many(dropped: Counter[Reason], rows: Rows, max_length: int) -> None:
    """Raise `DataError` if too many examples had to be dropped."""
    num_dropped, num_rows = dropped.total(), len(rows.entries)
    if num_dropped <= MAX_DROPPED_SHARE * num_rows:
        return
    most, _ = dropped.most_common(1)[0]
    which = ", ".join(
        f"{number:,} {_WORDS[reason].format(max_length=max_length)}"
        for reason, number in dropped.most_common()
    )
    raise DataError(
        f"{rows.source}: {num_dropped:,} of {num_rows:,} examples have nothing to learn: {which}",
        _REMEDIES[most],
    )
