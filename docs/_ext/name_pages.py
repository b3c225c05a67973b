"""The pages of the Python reference: every public name, every record, and what they speak of."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import is_dataclass
from types import FunctionType
from typing import Any, get_args, get_type_hints

from record_pages import dataclasses_of, record_modules

import spectrum_ft


def name_pages() -> Iterator[tuple[str, str]]:
    """File name and reStructuredText of each page."""
    public = {name: getattr(spectrum_ft, name) for name in spectrum_ft.__all__}
    records = [record for module in record_modules() for record in dataclasses_of(module)]
    classes = {name: thing for name, thing in public.items() if inspect.isclass(thing)}
    yield "functions.rst", _page("Functions", _functions(n for n in public if n not in classes))
    groups: dict[str, Callable[[str, type], bool]] = {
        "Errors": lambda name, thing: issubclass(thing, Exception),
        "Settings": lambda name, thing: name.endswith("Settings"),
        "Classes": lambda name, thing: thing not in records,
    }
    shown: list[type] = []
    for title, belongs in groups.items():
        names = [n for n, t in classes.items() if t not in shown and belongs(n, t)]
        shown += [classes[name] for name in names]
        yield f"{title.lower()}.rst", _page(title, _classes(f"spectrum_ft.{n}" for n in names))
    for module in record_modules():
        wanted = [record for record in dataclasses_of(module) if record not in shown]
        name = module.__name__.rpartition(".")[2]
        title = f"Records: {name.replace('_', ' ')}"
        text = f"{inspect.cleandoc(module.__doc__ or '')}\n\n{_classes(map(place, wanted))}"
        yield f"records-{name}.rst", _page(title, text)
    others = [thing for thing in spoken_of(public.values()) if thing not in (*shown, *records)]
    text = f"What the functions take and give besides.\n\n{_classes(map(place, others))}"
    yield "supporting.rst", _page("Supporting classes", text)


def place(thing: type) -> str:
    """Where a class is documented: under its public name, if it has one."""
    name = thing.__name__
    is_public = name in spectrum_ft.__all__ and getattr(spectrum_ft, name) is thing
    return f"spectrum_ft.{name}" if is_public else f"{thing.__module__}.{thing.__qualname__}"


def spoken_of(things: Iterable[Any]) -> list[type]:
    """The library's classes in the annotations of `things`, and in those classes' own."""
    found: list[type] = []
    waiting = [hint for thing in things for hint in _hints(thing)]
    for hint in waiting:
        waiting += hint if isinstance(hint, list) else get_args(hint)  # a list: what is called with
        if _is_ours(hint) and hint not in found:
            found.append(hint)
            waiting += _hints(hint)
    return sorted(found, key=place)


def _is_ours(hint: Any) -> bool:
    return inspect.isclass(hint) and hint.__module__.partition(".")[0] == "spectrum_ft"


def _hints(thing: Any) -> list[Any]:
    """The types in the signature of a function, or on the surface of a class."""
    if not inspect.isclass(thing):
        return list(get_type_hints(thing).values()) if inspect.isfunction(thing) else []
    fields = get_type_hints(thing) if is_dataclass(thing) else {}
    hints = [hint for name, hint in fields.items() if not name.startswith("_")]
    for name, member in vars(thing).items():
        function = member.fget if isinstance(member, property) else member
        if isinstance(function, FunctionType) and (name == "__init__" or not name.startswith("_")):
            hints += _hints(function)
    return hints


def _page(title: str, text: str) -> str:
    return f"{title}\n{'=' * len(title)}\n\n{text}\n"


def _functions(names: Iterable[str]) -> str:
    return "\n".join(f".. autofunction:: spectrum_ft.{name}\n" for name in names)


def _classes(places: Iterable[str]) -> str:
    return "\n".join(f".. autoclass:: {place}\n   :members:\n" for place in places)
