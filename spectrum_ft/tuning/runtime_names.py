"""Which parameters of a loaded model a checkpoint's tensors became, and the way back.

transformers 5 renames and fuses tensors on load: the `w1` and `w3` of all experts of a Mixtral
block become one `gate_up_proj`. Its own conversion mapping, which it also saves by, is asked here.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    rename_source_key,
    revert_weight_conversion,
)

from spectrum_ft.checkpoints.naming import natural_key
from spectrum_ft.errors import PlanError, few_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Tensors of the checkpoint and the parameters that they became, which only change together."""

    stored: tuple[str, ...]
    """Names in the checkpoint, in natural order."""
    runtime: tuple[str, ...]
    """Names of the model's parameters."""
    fused: bool
    """Whether values are rearranged between the two, not just renamed."""


class RuntimeNames:
    """The way between a checkpoint's names and those of `model`'s parameters.

    Made before adapters are put around the model: its parameters stay the same objects.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.parameters: dict[str, nn.Parameter] = dict(
            model.named_parameters(remove_duplicate=False)
        )
        """The model's parameters by name; tied ones under each of their names."""
        conversions = get_model_conversion_mapping(model)
        self._renamings = [c for c in conversions if isinstance(c, WeightRenaming)]
        self._converters = [c for c in conversions if isinstance(c, WeightConverter)]

    def module(self, parameter: str) -> nn.Module:
        """The module that holds the model's parameter of this name."""
        module: nn.Module = self._model.get_submodule(module_of(parameter))
        return module

    def target(self, stored: str) -> str:
        """The parameter that the checkpoint's tensor `stored` goes to first, existing or not."""
        return self._rename(stored)[0]

    def units(self, stored: Sequence[str]) -> list[Unit]:
        """The units that the tensors `stored` make up.

        Raises `PlanError` for a name that leads to no parameter, with the nearest ones, and for
        tensors that are only a part of one parameter.
        """
        found: dict[str, list[str]] = {}
        patterns: dict[str, str | None] = {}
        unknown = []
        for name in dict.fromkeys(stored):
            target, pattern = self._rename(name)
            if not self._targets(target, pattern):
                unknown.append(name)
                continue
            found.setdefault(target, []).append(name)
            patterns[target] = pattern
        if unknown:
            raise self._unknown(unknown)
        return [self._unit(target, names, patterns[target]) for target, names in found.items()]

    def to_stored(self, unit: Unit, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The checkpoint's tensors of `unit`, from its parameters' `values` by runtime name."""
        if not unit.fused:
            return {unit.stored[0]: values[unit.runtime[0]]}
        wanted = {name: values[name] for name in unit.runtime}
        parts = _reverted(self._model, wanted)
        ordered = [parts[name] for name in sorted(parts, key=natural_key)]
        return dict(zip(unit.stored, ordered, strict=True))

    def to_runtime(self, unit: Unit, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters' values of `unit`, from the checkpoint's tensors `values` by name."""
        if not unit.fused:
            return {unit.runtime[0]: values[unit.stored[0]]}
        target, pattern = self._rename(unit.stored[0])
        converter = self._converter(pattern)
        for name in unit.stored:
            _, pattern = self._rename(name)
            converter.add_tensor(target, name, pattern, values[name])
        made = converter.convert(target, model=self._model, config=self._model.config)
        return {name: v[0] if isinstance(v, list) else v for name, v in made.items()}

    def _rename(self, stored: str) -> tuple[str, str | None]:
        return rename_source_key(  # type: ignore[no-any-return]
            stored,
            self._renamings,
            self._converters,
            self._model.base_model_prefix,
            self.parameters,
        )

    def _converter(self, pattern: str | None) -> Any:
        return deepcopy(next(c for c in self._converters if pattern in c.source_patterns))

    def _targets(self, target: str, pattern: str | None) -> tuple[str, ...]:
        """Every parameter that a conversion to `target` fills."""
        names = [target]
        if pattern is not None:
            first, *others = self._converter(pattern).target_patterns
            names += [target.replace(first, other) for other in others]
        return tuple(name for name in names if name in self.parameters)

    def _unit(self, target: str, names: list[str], pattern: str | None) -> Unit:
        runtime = self._targets(target, pattern)
        stored = tuple(sorted(names, key=natural_key))
        if pattern is None:
            return Unit(stored=stored, runtime=runtime, fused=False)
        empty = {name: torch.empty_like(self.parameters[name], device="meta") for name in runtime}
        needed = _reverted(self._model, empty)
        if len(needed) != len(stored):
            lacking = sorted(set(needed) - set(stored), key=natural_key)
            raise PlanError(
                f"the plan takes {len(stored)} of the {len(needed)} tensors that load as one "
                f"parameter, {ascii(runtime[0])[1:-1]}: they train together or not at all",
                f"add {few_names(lacking)} to the plan, or leave all of them out",
            )
        return Unit(stored=stored, runtime=runtime, fused=True)

    def _unknown(self, unknown: list[str]) -> PlanError:
        known = _reverted(
            self._model,
            {n: torch.empty(p.shape, device="meta") for n, p in self.parameters.items()},
        )
        close = difflib.get_close_matches(unknown[0], known, n=3)
        hint = f"did you mean {few_names(close)}?" if close else "was it made for another model?"
        return PlanError(
            f"{len(unknown)} of the plan's names are not in this model: {few_names(unknown)}", hint
        )


def _reverted(model: Any, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`values` under the names and in the shapes that transformers saves them in."""
    # A quantized model's own conversions cannot be reversed; the default ones are those of its
    # architecture, and only unquantized parameters are asked for.
    kept = model.__dict__.pop("_weight_conversions", None)
    try:
        return revert_weight_conversion(model, dict(values))  # type: ignore[no-any-return]
    finally:
        if kept is not None:
            model._weight_conversions = kept


def module_of(parameter: str) -> str:
    """The module that the parameter named `parameter` belongs to."""
    return parameter.rpartition(".")[0]


def stored_names(names: RuntimeNames, stored: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The checkpoint's tensors that each parameter is loaded from, by the parameter's name."""
    table: dict[str, list[str]] = {}
    for name in stored:
        table.setdefault(names.target(name), []).append(name)
    return {target: tuple(found) for target, found in table.items()}
