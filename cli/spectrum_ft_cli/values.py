"""Values on a command line that are more than text or a number."""

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import click

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT])(i?)B", re.IGNORECASE)
_BYTES = re.compile(r"[0-9]{7,40}")
_COUNT = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kKMB]?)")
_THOUSANDS = {"": 0, "k": 1, "m": 2, "b": 3, "g": 3, "t": 4}
_MOST = 10**18
_FRACTION = re.compile(r"[01]?\.[0-9]+|1")


class Share(click.ParamType[float]):
    """A share: `25%`, or 0.25; as a number in (0, 1]."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The share as a fraction; a usage error for anything outside (0, 1]."""
        text = str(value).strip()
        if percent := _PERCENT.fullmatch(text):
            share = float(percent[1]) / 100.0
        elif _FRACTION.fullmatch(text):
            share = float(text)
        else:
            self.fail(f"{text!r} is not a share; write 25% or 0.25", param, ctx)
        if not 0.0 < share <= 1.0:
            self.fail(f"{text!r} is not between 0 and 100 %", param, ctx)
        return share


class Size(click.ParamType[int]):
    """An amount of memory: `24GiB` in powers of 1024, `24GB` in powers of 1000, or bytes.

    A bare number is bytes from a million up; below that it is more likely a unit forgotten.
    """

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes; a usage error for anything that is no size, or none above 0."""
        text = str(value).strip()
        if _BYTES.fullmatch(text):
            return _whole(self, text, 1, text, param, ctx)
        found = _SIZE.fullmatch(text)
        if not found:
            self.fail(f"{text[:60]!a} is not a size; write 24GiB or 800MB", param, ctx)
        base = 1024 if found[3] else 1000
        return _whole(self, found[1], base ** _THOUSANDS[found[2].lower()], text, param, ctx)


class Count(click.ParamType[int]):
    """A number of weights: `50M`, `1.5B`, `200k` or 50000000."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The whole number; a usage error for anything that is no number, or none above 0."""
        text = str(value).strip()
        found = _COUNT.fullmatch(text)
        if not found:
            self.fail(f"{text[:60]!a} is not a number of weights; write 50M or 1.5B", param, ctx)
        number = re.sub("[_,]", "", found[1])
        return _whole(self, number, 1000 ** _THOUSANDS[found[2].lower()], text, param, ctx)


def _whole(
    kind: click.ParamType[int],
    number: str,
    unit: int,
    text: str,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> int:
    """`number` times `unit`, rounded down, exactly; a usage error outside 1 to 10^18."""
    if len(number) > 40:
        kind.fail(f"{text[:60]!a} is too long to be meant", param, ctx)
    whole = int(Fraction(number) * unit)
    if not 1 <= whole <= _MOST:
        kind.fail(f"{text!a} is not between 1 and 10^18", param, ctx)
    return whole


def listed(text: str | None) -> tuple[str, ...]:
    """The items of a list by commas, in their order; none for None."""
    return tuple(item.strip() for item in (text or "").split(",") if item.strip())


def each_once(texts: Iterable[str]) -> tuple[str, ...]:
    """The items of several lists by commas, each once."""
    return tuple(dict.fromkeys(item for text in texts for item in listed(text)))
