"""Pictures as parts of pages: the same drawing as in a file, in the page's own colours."""

import re
from typing import NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

from spectrum_ft_reports.drawing.files import picture_bytes
from spectrum_ft_reports.drawing.style import FAINT, GREY, INK
from spectrum_ft_reports.pages.theme import LIGHT

_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
_VARIABLES = {
    **{colour: f"var(--series-{place})" for place, colour in enumerate(LIGHT.series)},
    INK: "var(--ink)",
    GREY: "var(--grey)",
    FAINT: "var(--faint)",
    LIGHT.high: "var(--high)",
    "#ffffff": "var(--paper)",
}
_COLOUR = re.compile("|".join(_VARIABLES), re.IGNORECASE)
_FONT = re.compile(r"font-family: [^;]*;? ?")
_NUMBER = re.compile(r"-?\d+\.\d+")
_POINTS = re.compile(r"\s*([A-Za-z])\s*")
_NO_TURN = re.compile(r"rotate\(-?0 [^)]*\)")


class Shown(NamedTuple):
    """A picture on a page, and what is said around it."""

    title: str
    """What it shows."""
    svg: Markup
    """The picture."""
    notes: str
    """How to read it."""


def shown(figure: Figure, name: str, *, title: str, notes: str) -> Shown:
    """`figure` with its title and its notes, which also describe it; `name` as in `inline_svg`."""
    svg = inline_svg(figure, name, title=title, description=notes)
    return Shown(title=title, svg=svg, notes=notes)


def inline_svg(figure: Figure, name: str, *, title: str, description: str) -> Markup:
    """`figure` as an `<svg>` with a title and a description, read aloud in place of it.

    Its colours become the page's variables, its white the page's paper, its font the page's.
    `name` is a plain word, another one for each picture of a page: it keeps their parts apart.
    """
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(picture_bytes(figure, ".svg"))
    for element in (*root.findall(f"{{{_SVG}}}metadata"), *root.findall(f"{{{_SVG}}}defs")):
        if element.tag.endswith("metadata") or element.find(f"{{{_SVG}}}style") is not None:
            root.remove(element)  # its rules would hold for the whole page
    named = _named(root)
    for element in root.iter():
        _restyle(element)
        _shorten(element)
        _rename(element, name, named)
    root.attrib = {"viewBox": root.attrib["viewBox"], "class": "picture", "role": "img"}
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        told = ElementTree.Element(f"{{{_SVG}}}{tag}")
        told.set("id", f"{name}-{'title' if tag == 'title' else 'description'}")
        told.text = text
        root.insert(place, told)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _restyle(element: ElementTree.Element) -> None:
    """Give an element the page's colours and font."""
    style = element.get("style")
    if style is None:
        return
    style = _COLOUR.sub(lambda match: _VARIABLES[match[0].lower()], style)
    element.set("style", _FONT.sub("", style))


def _shorten(element: ElementTree.Element) -> None:
    """Leave out what nobody sees: blanks, turns by nothing, and more than a hundredth of a point.

    A tenth is enough for lines, of which pictures have by far the most.
    """
    if element.tag != f"{{{_SVG}}}text" and not (element.text or "").strip():
        element.text = None
    element.tail = None
    if (path := element.get("d")) is not None:
        digits = 2 if "C" in path or "Q" in path else 1
        path = _NUMBER.sub(lambda match: _rounded(match[0], digits), path)
        element.set("d", _POINTS.sub(r"\1", path).strip())
    for attribute in ("x", "y"):
        if (value := element.get(attribute)) is not None:
            element.set(attribute, _rounded(value, 1))
    if (turn := element.get("transform")) is not None:
        if _NO_TURN.fullmatch(turn):
            del element.attrib["transform"]
        else:
            turn = _NUMBER.sub(lambda match: _rounded(match[0], 2), turn)
            element.set("transform", turn)


def _rounded(number: str, digits: int) -> str:
    return f"{float(number):.{digits}f}".rstrip("0").rstrip(".")


def _named(root: ElementTree.Element) -> set[str]:
    """The names of parts that other parts point to."""
    found = set()
    for element in root.iter():
        for text in element.attrib.values():
            found |= set(re.findall(r"url\(#([^)]+)\)", text))
        if (target := element.get(f"{{{_LINK}}}href")) is not None:
            found.add(target[1:])
    return found


def _rename(element: ElementTree.Element, name: str, named: set[str]) -> None:
    """Put `name` before the names of parts and before what points to them; drop the others."""
    if (own := element.get("id")) is not None:
        if own in named:
            element.set("id", f"{name}-{own}")
        else:
            del element.attrib["id"]
    if (target := element.attrib.pop(f"{{{_LINK}}}href", None)) is not None:
        element.set("href", f"#{name}-{target[1:]}")
    for attribute, text in element.attrib.items():
        if "url(#" in text:
            element.set(attribute, text.replace("url(#", f"url(#{name}-"))
