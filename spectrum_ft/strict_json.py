"""JSON as strangers send it: bounded, UTF-8, no duplicate keys, no NaN, no bottomless nesting."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

_LARGE = re.compile(r"[0-9]{31}|[0-9][eE]\+?[0-9]{3}")
"""What every number that is too large has in it: many digits, or three of them in its exponent."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class JsonFault(Exception):
    """What is wrong with a piece of JSON, in words fit for an error message."""


def _refuse_constant(word: str) -> NoReturn:
    raise JsonFault(f"it holds {word}, which is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonFault(f"the number {text[:20]} is too large")
    return value


def _whole(text: str) -> int:
    # Python refuses to parse very long integers with a ValueError of its own.
    if len(text) > 30:
        raise JsonFault(f"the number {text[:20]}... is too long")
    return int(text)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonFault(f"the key {ascii(key)[:200]} appears twice")
            seen.add(key)
    return table


def parse_json(data: bytes) -> Any:
    """The value that `data` spells, by RFC 8259 and no more.

    Raises `JsonFault` for anything that is not UTF-8 JSON, for a byte order mark, duplicate keys,
    NaN or Infinity (spelled or by overflow), lone surrogates, and nesting deeper than the
    interpreter can follow.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise JsonFault(f"it is not UTF-8 text (byte {fault.start})") from None
    # A hook costs more than the number, and a large scan has millions of short ones.
    large = _LARGE.search(text) is not None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite if large else None,
            parse_int=_whole if large else None,
        )
    except json.JSONDecodeError as fault:
        raise JsonFault(
            f"it is not JSON ({fault.msg}, line {fault.lineno} column {fault.colno})"
        ) from None
    except RecursionError:
        raise JsonFault("it is nested too deeply") from None
    if _SURROGATE.search(text):
        _refuse_halves(value)
    return value


def _refuse_halves(value: Any) -> None:
    """Raise `JsonFault` for half of a surrogate pair, which no UTF-8 file could hold again."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise JsonFault("it holds half of a character (a lone surrogate)") from None
