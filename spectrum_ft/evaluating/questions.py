"""Questions: the rows of held-out data without their answers, as the model is asked them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from spectrum_ft.errors import DataError
from spectrum_ft.records.evaluations import EvalSettings
from spectrum_ft.tuning.data.chat_spans import Written, find_answers, write_prompt
from spectrum_ft.tuning.data.files import read_rows
from spectrum_ft.tuning.data.rows import Row, Rows
from spectrum_ft.tuning.data.shapes import Conversation, Passage, Shape, recognise


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question and its expected answer."""

    place: str
    """Where it stands: `test.jsonl, line 17`."""
    asked: Conversation | Passage
    """What is asked: a conversation without its last answer, or a prompt."""
    expected: str
    """The expected answer, as it stands."""

    @property
    def is_plain(self) -> bool:
        """Whether it is asked without a chat template."""
        return isinstance(self.asked, Passage)


def read_questions(source: str, columns: dict[str, str], tokenizer: Any) -> list[Question]:
    """The questions in the data set that `source` names; see `questions_in`."""
    return questions_in(read_rows(source, columns), tokenizer)


def questions_in(rows: Rows, tokenizer: Any) -> list[Question]:
    """The questions that `rows` hold, in their order.

    Raises `DataError` for data without questions: plain text, or a conversation that does not end
    with an answer.
    """
    shape = recognise(rows)
    return [_question(shape, row, bool(tokenizer.chat_template)) for row in rows.entries]


def _question(shape: Shape, row: Row, has_template: bool) -> Question:
    example = shape.read(row)
    if isinstance(example, Conversation) and not has_template:
        if example.plain is None:
            raise DataError(
                f"{row.place}: a conversation ({shape.said}), but the model has no chat template",
                "take the instruction-tuned version of the model, or give plain prompt and "
                "completion",
            )
        example = example.plain
    if isinstance(example, Passage):
        return _of_passage(example, row.place, shape)
    return _of_conversation(example, row.place)


def _of_passage(passage: Passage, place: str, shape: Shape) -> Question:
    if not passage.prompt.strip() or not passage.completion.strip():
        raise DataError(
            f"{place}: no question with an answer ({shape.said})",
            "give prompt and completion, or conversations; or measure the loss alone",
        )
    return Question(
        place=place,
        asked=replace(passage, completion=""),
        expected=passage.completion,
    )


def _of_conversation(talk: Conversation, place: str) -> Question:
    last = talk.messages[-1]
    answer = last.get("content") or ""
    if last["role"] != "assistant" or not answer.strip() or len(talk.messages) < 2:
        raise DataError(
            f"{place}: does not end with an answer to a question",
            "end every conversation with the assistant's turn, or measure the loss alone",
        )
    return Question(
        place=place,
        asked=replace(talk, messages=talk.messages[:-1], plain=None),
        expected=answer,
    )


def solved_examples(settings: EvalSettings, tokenizer: Any) -> list[Question]:
    """The solved examples that stand in front of every question: drawn once, by the seed."""
    if not settings.few_shot:
        return []
    assert settings.examples is not None
    pool = read_questions(settings.examples, settings.columns, tokenizer)
    # Of each prompt one: a question that is asked twice would need two substitutes.
    distinct: dict[str, Question] = {}
    for question in pool:
        distinct.setdefault(repr(question.asked), question)
    pool = list(distinct.values())
    if len(pool) <= settings.few_shot:
        raise DataError(
            f"{settings.examples}: {len(pool):,} different examples, too few to draw "
            f"{settings.few_shot:,} and one to spare",
            "give more of them, or ask for fewer",
        )
    # One more than asked for: it stands in where an example is the question itself.
    return Random(f"examples {settings.seed}").sample(pool, settings.few_shot + 1)


def behind_examples(question: Question, shots: Sequence[Question]) -> Question:
    """`question` with solved examples in front of it.

    They are earlier turns of the same conversation, behind the question's own system turn; of
    plain text they stand above the prompt, with a blank line between. The last of `shots` is a
    substitute, for a question that is among them.
    """
    chosen = [shot for shot in shots if shot.asked != question.asked][: max(0, len(shots) - 1)]
    asked = question.asked
    if isinstance(asked, Passage):
        above = [s.asked.prompt + s.expected for s in chosen if isinstance(s.asked, Passage)]
        return replace(question, asked=replace(asked, prompt="\n\n".join([*above, asked.prompt])))
    system = [turn for turn in asked.messages[:1] if turn["role"] == "system"]
    turns = [*system]
    for shot in chosen:
        assert isinstance(shot.asked, Conversation)
        turns += [turn for turn in shot.asked.messages if turn["role"] != "system"]
        turns.append({"role": "assistant", "content": shot.expected})
    turns += asked.messages[len(system) :]
    return replace(question, asked=replace(asked, messages=turns))


def prompt_of(question: Question, tokenizer: Any) -> str:
    """What the model is given of `question`, as text: up to where its answer begins."""
    if isinstance(question.asked, Passage):
        return question.asked.prompt
    return write_prompt(question.asked, tokenizer, question.place)


def answered(question: Question, answer: str, tokenizer: Any) -> Written:
    """`question` with `answer`, as text in which the answer is what is learned."""
    if isinstance(question.asked, Passage):
        prompt = question.asked.prompt
        text = prompt + answer
        return Written(text=text, answers=((len(prompt), len(text)),), plain=True)
    turns = [*question.asked.messages, {"role": "assistant", "content": answer}]
    talk = replace(question.asked, messages=turns, learned_from=len(turns) - 1)
    written = find_answers(talk, tokenizer, question.place)
    return replace(written, answers=written.answers[-1:])
