"""YAML as people edit it and strangers send it: bounded, no tags, no aliases, no duplicate keys."""

import math
from typing import Any

import yaml

MAX_BYTES = 5 * 2**20
"""A plan for a 28,800-matrix mixture of experts takes 2 MB."""

MAX_DEPTH = 20

MAX_VALUES = 500_000
"""Keys and values, all told; that plan has 30,000."""

# The parser written in C is ten times faster where PyYAML was built with it.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null")}
_TEXT = "tag:yaml.org,2002:str"


class YamlFault(Exception):
    """What is wrong with a piece of YAML, in words fit for an error message."""


def parse_yaml(data: bytes) -> Any:
    """The value that `data` spells, of plain types only; `YamlFault` for anything else."""
    if len(data) > MAX_BYTES:
        raise YamlFault(f"larger than {MAX_BYTES:,} bytes")
    try:
        _check_events(data)
        root = yaml.compose(data, Loader=_LOADER)
        if root is not None:
            _check_nodes(root)
        value = yaml.load(data, Loader=_LOADER)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        parts = (getattr(fault, "context", None), getattr(fault, "problem", None))
        problem = ", ".join(part for part in parts if part) or "not YAML text"
        raise YamlFault(f"{ascii(problem)[1:-1][:120]}{where}") from None
    except (UnicodeDecodeError, ValueError) as fault:
        raise YamlFault(f"holds a value that cannot be read ({type(fault).__name__})") from None
    _check_finite(value)
    return value


def _line(event: yaml.Event) -> str:
    return f" (line {event.start_mark.line + 1})" if event.start_mark else ""


def _check_events(data: bytes) -> None:
    depth = 0
    for number, event in enumerate(yaml.parse(data, Loader=_LOADER)):
        if number > MAX_VALUES:
            raise YamlFault(f"more than {MAX_VALUES:,} values")
        if isinstance(event, yaml.AliasEvent):
            raise YamlFault(f"an alias{_line(event)}; write the value out")
        if getattr(event, "tag", None) is not None:
            raise YamlFault(f"a tag{_line(event)}; write the value without it")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise YamlFault(f"nested too deeply{_line(event)}")


def _check_nodes(node: yaml.Node) -> None:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag != _TEXT:
                raise YamlFault(f"a key that is not plain text (line {line})")
            if key.value in seen:
                raise YamlFault(f"the key {ascii(key.value)[:60]} appears twice (line {line})")
            seen.add(key.value)
            _check_nodes(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_nodes(item)
    elif node.tag not in _PLAIN:
        raise YamlFault(
            f"a date or another value of a special type (line {line}); put it in quotes"
        )


def _check_finite(value: Any) -> None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_finite(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise YamlFault("a number that is not finite")
