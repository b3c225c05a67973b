"""Plan files: YAML for people, checked when it comes back from their editors."""

from dataclasses import fields, replace
from typing import Any

import msgspec
import yaml

from spectrum_ft.errors import RecordError, few_names
from spectrum_ft.record_files import check_schema, refuse_unknown
from spectrum_ft.records.plans import (
    PLAN_SCHEMA,
    LoraSettings,
    Plan,
    PlanCounts,
    PlanModel,
    PlanPolicy,
)
from spectrum_ft.strict_yaml import YamlFault, parse_yaml

_ORDER = ("schema", "model", "policy", "counts", "base", "lora", "train", "command")
_SECTIONS: dict[str, type[Any]] = {
    "model": PlanModel,
    "policy": PlanPolicy,
    "counts": PlanCounts,
    "lora": LoraSettings,
}

_HEADER = """\
# What trains and what does not. Edit the lists freely: names are checked against the model.
# `train`: every entry is updated. `lora`: adapters. `base`: how all other matrices are kept.
"""


def plan_to_yaml(plan: Plan) -> str:
    """`plan` as YAML, names quoted where they must be."""
    table = msgspec.to_builtins(plan)
    ordered = {key: table[key] for key in _ORDER}
    return _HEADER + yaml.safe_dump(ordered, sort_keys=False, width=10**6)


def parse_plan(data: bytes, path: str) -> Plan:
    """The plan in `data`; `RecordError` naming `path` and what does not fit.

    A name that is listed twice counts once; a plan that trains nothing, or puts an adapter on a
    matrix that trains anyway, is refused.
    """
    try:
        table = parse_yaml(data)
    except YamlFault as fault:
        raise RecordError(f"{path}: {fault}", "mend the file, or make the plan again") from None
    if not isinstance(table, dict):
        raise RecordError(f"{path}: not a plan", "give a file written by `spectrum plan -o`")
    check_schema(table.get("schema"), PLAN_SCHEMA, path)
    refuse_unknown({str(key) for key in table}, {f.name for f in fields(Plan)}, path)
    for section, kind in _SECTIONS.items():
        if isinstance(table.get(section), dict):
            known = {f.name for f in fields(kind)}
            refuse_unknown({str(key) for key in table[section]}, known, f"{path}, {section}")
    try:
        plan = msgspec.convert(table, Plan)
    except msgspec.ValidationError as fault:
        raise RecordError(f"{path}: {fault}", "mend that field, or make the plan again") from None
    return _tidied(plan, path)


def _tidied(plan: Plan, path: str) -> Plan:
    train = tuple(dict.fromkeys(plan.train))
    lora = plan.lora and replace(plan.lora, matrices=tuple(dict.fromkeys(plan.lora.matrices)))
    lora = lora if lora and lora.matrices else None
    carriers = lora.matrices if lora else ()
    if not train and not carriers:
        raise RecordError(f"{path}: this plan trains nothing", "list tensors under `train`")
    if both := [name for name in carriers if name in set(train)]:
        raise RecordError(
            f"{path}: {few_names(both)}: trains in full and carries an adapter",
            "list it under `train` or under `lora`, not both",
        )
    return replace(plan, train=train, lora=lora)
