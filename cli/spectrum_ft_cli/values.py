"""Values on a command line that are more than text or a number."""

import re
from typing import Any

import click

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
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
