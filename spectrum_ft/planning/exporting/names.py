"""Names that other tools can be given: checked, because they match them in ways of their own."""

import re
from collections.abc import Sequence

from spectrum_ft.errors import PlanError, few_names
from spectrum_ft.planning.adapters import WEIGHT

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*")
"""What parameters of transformers' models are called; all else may mean something to a tool."""


def module_names(matrices: Sequence[str]) -> tuple[str, ...]:
    """The modules whose weights are `matrices`; `PlanError` for what is no module's weight."""
    bare = [name for name in matrices if not name.endswith(WEIGHT)]
    if bare:
        raise PlanError(
            f"{few_names(bare)}: no weight of a module, so no adapter fits",
            "leave it out of lora.matrices",
        )
    return tuple(name.removesuffix(WEIGHT) for name in matrices)


def refuse_odd(names: Sequence[str]) -> None:
    """Raise `PlanError` for names that a tool might read as anything but themselves."""
    odd = [name for name in names if not _PLAIN.fullmatch(name)]
    if odd:
        raise PlanError(
            f"{few_names(odd)}: no name of a parameter that another tool could be given",
            "write the plan itself; `spectrum train` matches names as they are",
        )
