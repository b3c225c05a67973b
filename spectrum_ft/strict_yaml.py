"""YAML as people edit it and strangers send it: bounded, no tags, no aliases, no duplicate keys."""

from typing import Any

import yaml

MAX_BYTES = 5 * 2**20
"""A plan for a 28,800-matrix mixture of experts takes 2 MB."""

MAX_DEPTH = 20

# The parser written in C is ten times faster where PyYAML was built with it.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
            _check_keys(root)
        return yaml.load(data, Loader=_LOADER)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        problem = getattr(fault, "problem", None) or "not YAML text"
        raise YamlFault(f"{ascii(problem)[1:-1][:120]}{where}") from None
    except (UnicodeDecodeError, ValueError) as fault:
        raise YamlFault(f"holds a value that cannot be read ({type(fault).__name__})") from None


def _line(event: yaml.Event) -> str:
    return f" (line {event.start_mark.line + 1})" if event.start_mark else ""


def _check_events(data: bytes) -> None:
    depth = 0
    for event in yaml.parse(data, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise YamlFault(f"an alias{_line(event)}; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise YamlFault(f"nested too deeply{_line(event)}")


def _check_keys(node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value == "<<" or not isinstance(key, yaml.ScalarNode):
                raise YamlFault(f"a key that is not plain text (line {key.start_mark.line + 1})")
            if key.value in seen:
                line = key.start_mark.line + 1
                raise YamlFault(f"the key {ascii(key.value)[:60]} appears twice (line {line})")
            seen.add(key.value)
            _check_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item)
