"""Names that other tools can be given: checked, because they match them in ways of their own."""

import re
from collections.abc import Sequence

from spectrum_ft.checkpoints.naming import place_tensors
from spectrum_ft.errors import PlanError, few_names
from spectrum_ft.planning.adapters import WEIGHT

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*")
"""What parameters of transformers' models are called; all else may mean something to a tool."""


def parameter_names(names: Sequence[str]) -> tuple[str, ...]:
    """`names`, fit for tools that match them against the parameters of a loaded model.

    Such tools go on without a word where a name matches nothing. So `PlanError` is raised for names
    under which transformers loads no parameter: single experts, which it fuses, and names whose
    list of blocks is not inside a model (`h.0.attn.c_attn.weight`, or a GGUF's `blk.0...`).
    """
    _refuse_odd(names)
    experts = [name for name, place in place_tensors(names).items() if place.expert is not None]
    if experts:
        raise PlanError(
            f"{few_names(experts)}: transformers loads all experts of a block as one parameter",
            "give the plan the loaded model's names first: spectrum_ft.tuning.loaded_plans",
        )
    outside = [name for name in names if any(part.isdigit() for part in name.split(".")[:2])]
    if outside:
        raise PlanError(
            f"{few_names(outside)}: a loaded language model has its blocks one level deeper, "
            "so nothing would match",
            "give the plan the loaded model's names first: spectrum_ft.tuning.loaded_plans",
        )
    return tuple(names)


def module_names(matrices: Sequence[str]) -> tuple[str, ...]:
    """The modules whose weights are `matrices`; `PlanError` for what is no module's weight."""
    _refuse_odd(matrices)
    bare = [name for name in matrices if not name.endswith(WEIGHT)]
    if bare:
        raise PlanError(
            f"{few_names(bare)}: no weight of a module, so no adapter fits",
            "leave it out of lora.matrices",
        )
    return tuple(name.removesuffix(WEIGHT) for name in matrices)


def _refuse_odd(names: Sequence[str]) -> None:
    odd = [name for name in names if not _PLAIN.fullmatch(name)]
    if odd:
        raise PlanError(
            f"{few_names(odd)}: no name of a parameter that another tool could be given",
            "write the plan itself; `spectrum train` matches names as they are",
        )
