"""Conversations as their chat template writes them, and where in that text the answers stand.

A template gives no such positions. They are found from what it writes for the beginnings of the
conversation, never by searching for its markers: a user may have typed those too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spectrum_ft.errors import DataError
from spectrum_ft.tuning.data.shapes import Conversation

Span = tuple[int, int]
"""The first character, and the one after the last."""

# Some templates write today's date. A run that resumes tomorrow must see the same text, so it is
# always that of Llama 3.1's own default; transformers lets no function of ours into a template.
_FIXED_DATE = (
    "{%- macro strftime_now(format) -%}{{ format"
    " | replace('%Y', '2024') | replace('%y', '24') | replace('%m', '07') | replace('%d', '26')"
    " | replace('%B', 'July') | replace('%b', 'Jul') | replace('%A', 'Friday')"
    " | replace('%a', 'Fri') | replace('%H', '12') | replace('%M', '00') | replace('%S', '00')"
    " }}{%- endmacro %}\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An example as text, and which of it is learned."""

    text: str
    """The whole of it."""
    answers: tuple[Span, ...]
    """The stretches to learn, in order, apart from each other."""
    last_only: bool = False
    """True if earlier answers could not be told apart, so that only the last one is learned."""
    plain: bool = False
    """True for text that no template wrote: it begins and ends as the tokenizer has texts do."""


class _Unwritable(Exception):
    """What a template says about turns that it does not take."""


def write_conversation(talk: Conversation, tokenizer: Any, place: str) -> str:
    """`talk` as the tokenizer's chat template writes it; `DataError` if it refuses the turns."""
    try:
        return _render(tokenizer, talk, len(talk.messages))
    except _Unwritable as fault:
        raise DataError(
            f"{place}: the chat template refuses this conversation ({fault})",
            "correct the order of its turns, or leave it out",
        ) from None


def write_prompt(talk: Conversation, tokenizer: Any, place: str) -> str:
    """`talk` as the chat template writes it, and behind it the template's prompt for an answer.

    Raises `DataError` if the template refuses the turns.
    """
    try:
        return _render(tokenizer, talk, len(talk.messages), prompting=True)
    except _Unwritable as fault:
        raise DataError(
            f"{place}: the chat template refuses this conversation ({fault})",
            "correct the order of its turns, or leave it out",
        ) from None


def find_answers(talk: Conversation, tokenizer: Any, place: str) -> Written:
    """`talk` as the chat template writes it, and in it the answers of the assistant.

    An answer reaches from behind what the template writes to prompt for it to the end of its
    turn, the marker there included and white space after that marker not. The assistant's turn at
    the very start answers nothing and is not learned, nor are turns without content. Raises
    `DataError` if the template refuses the turns, or if it rewrites so much of them that not even
    the last answer can be found.
    """
    full = write_conversation(talk, tokenizer, place)
    turns = [
        n
        for n, message in enumerate(talk.messages)
        if n >= max(1, talk.learned_from) and _says_something(message)
    ]
    found = [_answer(tokenizer, talk, n, full) for n in turns]
    spans = [span for span in found if span is not None]
    last_only = len(spans) < len(found)
    if last_only and found[-1] is None:
        raise DataError(
            f"{place}: the last answer cannot be told apart from what is before it, "
            "because the chat template rewrites earlier turns",
            "train on everything, or give prompt and completion as text",
        )
    return Written(
        text=full, answers=tuple(spans[-1:] if last_only else spans), last_only=last_only
    )


def _says_something(message: Mapping[str, Any]) -> bool:
    says_something = bool((message.get("content") or "").strip() or message.get("tool_calls"))
    return message["role"] == "assistant" and says_something


def _answer(tokenizer: Any, talk: Conversation, n: int, full: str) -> Span | None:
    """Where the answer that is turn `n` stands in `full`; None if its template hides that."""
    is_last = n == len(talk.messages) - 1
    try:
        through = full if is_last else _render(tokenizer, talk, n + 1)
        prompt = _render(tokenizer, talk, n, prompting=True)
        start = len(prompt)
        if not full.startswith(prompt):
            # A template may begin an answer in a way that not all answers do (`<think>`). What
            # comes before the prompt must still be the beginning of the whole.
            start = next(i for i, sign in enumerate(prompt) if full[i : i + 1] != sign)
            before = _render(tokenizer, talk, n)
            if not full.startswith(before) or start < len(before):
                return None
    except _Unwritable:
        return None
    if not full.startswith(through) or len(through) <= start:
        return None
    return start, start + len(_trimmed(through[start:], talk.messages[n].get("content") or ""))


def _trimmed(turn: str, content: str) -> str:
    """`turn` without the white space behind its end marker, if it has a marker.

    Nothing is learned from white space that always follows, and a model stops at the marker.
    """
    trimmed, words = turn.rstrip(), content.strip()
    return turn if words and trimmed.endswith(words) else trimmed


def _render(tokenizer: Any, talk: Conversation, num_turns: int, *, prompting: bool = False) -> str:
    """The first turns as the template writes them, with or without its prompt for an answer."""
    import jinja2

    try:
        template = tokenizer.get_chat_template(None, talk.tools)
        text: str = tokenizer.apply_chat_template(
            list(talk.messages[:num_turns]),
            tools=talk.tools,
            chat_template=_FIXED_DATE + template if "strftime_now" in template else template,
            tokenize=False,
            add_generation_prompt=prompting,
        )
    except (
        # Templates are programs by strangers, run in transformers' sandbox: this is what they
        # raise on purpose, and what comes of fields that they expect and do not get.
        jinja2.TemplateError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise _Unwritable(ascii(str(error) or type(error).__name__)[1:-1][:150]) from None
    return text
