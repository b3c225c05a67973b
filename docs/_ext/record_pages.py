"""A page for every record that is written to a file, from its dataclass and its fields' words."""

import ast
import inspect
import json
import types
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from spectrum_ft import records
from spectrum_ft.records.training import TrainStep
from spectrum_ft.tuning.merges.merging import MergeReport

_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything"}

_SEVERAL = {"text": "texts", "whole number": "whole numbers", "number": "numbers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A record that a file holds, or a line of one."""

    title: str
    """What the page is called."""
    record: type
    """Its dataclass."""
    schema: str | None
    """Name and version of its layout; None for what has none of its own."""


def record_modules() -> list[types.ModuleType]:
    """The modules of `spectrum_ft.records`, in the order of their names."""
    folder = Path(next(iter(records.__path__)))
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return [import_module(f"{records.__name__}.{name}") for name in names]


def dataclasses_of(module: types.ModuleType) -> list[type]:
    """The dataclasses that a module defines, in its order."""
    return [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing) and is_dataclass(thing) and thing.__module__ == module.__name__
    ]


_ORDER = ("scan", "scan-forecast", "plan", "run-start", "run", "merge", "evaluation", "trial")


def roots() -> list[Root]:
    """Every record with a schema, in the order of the work, and the lines of `metrics.jsonl`."""
    found = [MergeReport, *(c for module in record_modules() for c in dataclasses_of(module))]
    with_schema = [
        Root(title=schema.partition("/")[2].partition("@")[0], record=record, schema=schema)
        for record in found
        for schema in [next((f.default for f in fields(record) if f.name == "schema"), None)]
        if isinstance(schema, str)
    ]
    by_work = sorted(
        with_schema, key=lambda r: _ORDER.index(r.title) if r.title in _ORDER else len(_ORDER)
    )
    return [*by_work, Root(title="metrics.jsonl", record=TrainStep, schema=None)]


def record_pages() -> Iterator[tuple[str, str]]:
    """File name and MyST text of each record's page; a part of several is on the first's."""
    described = {root.record for root in roots()}
    for root in roots():
        parts = [root.record]
        for part in parts:
            parts += [inner for inner in _inner(part) if inner not in described | set(parts)]
        described |= set(parts)
        yield f"{root.title.partition('.')[0]}.md", "\n".join(_page(root, parts))


def _page(root: Root, parts: list[type]) -> Iterator[str]:
    yield f"({label(root.record)})=\n# {root.title}\n"
    yield f"{_doc(root.record)}\n"
    if root.schema:
        yield f"Schema: `{root.schema}`.\n"
    yield from _table(root.record)
    for part in parts[1:]:
        yield f"({label(part)})=\n## {part.__name__}\n"
        yield f"{_doc(part)}\n"
        yield from _table(part)


def label(record: type) -> str:
    """The anchor of a record's table."""
    return f"record-{record.__name__.lower()}"


def _doc(record: type) -> str:
    return _markdown(inspect.getdoc(record) or "")


def _table(record: type) -> Iterator[str]:
    hints, words = get_type_hints(record), field_words(record)
    yield ":::{table}\n:class: fields\n"
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for field in fields(record):
        kind = _kind(hints[field.name]) + _default(field)
        if field.name == "schema":
            kind = f"`{_json(field.default)}`"
        yield f"| `{field.name}` | {_cell(kind)} | {_cell(_markdown(words[field.name]))} |"
    yield "\n:::\n"


def field_words(record: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, by the field's name."""
    (tree,) = ast.parse(inspect.getsource(record)).body
    assert isinstance(tree, ast.ClassDef)
    words = {}
    for one, after in zip(tree.body, tree.body[1:], strict=False):
        match one, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                words[name] = inspect.cleandoc(text)
    return words


def _inner(record: type) -> list[type]:
    """The dataclasses that a record's fields hold, in their order."""
    found: list[type] = []

    def walk(hint: Any) -> None:
        if inspect.isclass(hint) and is_dataclass(hint):
            found.append(hint)
        for inner in get_args(hint):
            walk(inner)

    for hint in get_type_hints(record).values():
        walk(hint)
    return list(dict.fromkeys(found))


def _kind(hint: Any) -> str:
    """A type in the words of JSON."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is type(None):
        return "null"
    if hint in _PLAIN:
        return _PLAIN[hint]
    if inspect.isclass(hint) and is_dataclass(hint):
        return f"[{hint.__name__}](#{label(hint)})"
    if origin is Literal:
        return " or ".join(f"`{_json(choice)}`" for choice in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in inner)
    if origin in (tuple, list):
        kinds = dict.fromkeys(_kind(part) for part in inner if part is not Ellipsis)
        return f"list of {', '.join(_SEVERAL.get(kind, kind) for kind in kinds)}"
    if origin is dict:
        return f"table of {_kind(inner[1])}"
    raise TypeError(f"{hint}: no word for this type")


def _default(field: "Field[Any]") -> str:
    """What a record without the field means, where it may lack it."""
    if field.default is not MISSING:
        return f"; absent: `{_json(field.default)}`"
    if field.default_factory is not MISSING:
        return f"; absent: `{_json(field.default_factory())}`"
    return ""


def _json(value: Any) -> str:
    return json.dumps(value)


def _markdown(text: str) -> str:
    """Words of a docstring as Markdown: backticks are code, the rest means nothing."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        for sign in "\\*_[]<>{}$#":
            parts[place] = parts[place].replace(sign, f"\\{sign}")
    return "`".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
