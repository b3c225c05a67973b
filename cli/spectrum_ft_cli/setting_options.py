"""An option for a field of a settings record: its type and its default are the field's."""

from collections.abc import Callable
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from spectrum_ft_cli.commands import Decorator, option

MAX_SEED = 2**32 - 1
"""The largest seed, which is numpy's."""


def setting_of(record: type) -> Callable[..., Decorator]:
    """What makes an option of a field of `record`, a dataclass, from its name, group and help.

    It is spelled as the field is unless other spellings are given; attributes of click's options
    overrule the field's.
    """
    hints = get_type_hints(record)
    defaults = {field.name: field.default for field in fields(record)}

    def setting(name: str, *spellings: str, group: str, help: str, **attributes: Any) -> Decorator:
        default, hint = defaults[name], hints[name]
        dashed = name.replace("_", "-")
        if hint is bool:
            spellings = (f"--{dashed}/--no-{dashed}",)
        attributes.setdefault("type", _type(hint))
        if default is not MISSING and "multiple" not in attributes:
            attributes |= {"default": default, "show_default": default is not None}
        return option(*(spellings or (f"--{dashed}",)), name, group=group, help=help, **attributes)

    return setting


def _type(hint: Any) -> Any:
    """What click converts to, for a field of this type."""
    if get_origin(hint) is Literal:
        return click.Choice(list(get_args(hint)))
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if NoneType in get_args(hint) else hint
