"""Pictures as parts of pages: the same drawing as in a file, in the page's own colours."""

import re
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

from spectrum_ft_reports.drawing.files import picture_bytes
from spectrum_ft_reports.drawing.style import FAINT, GREY, INK

_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
_VARIABLES = {INK: "var(--ink)", GREY: "var(--grey)", FAINT: "var(--faint)"}
_WHITE = re.compile(r"#ffffff", re.IGNORECASE)


def inline_svg(figure: Figure, name: str, *, title: str, description: str) -> Markup:
    """`figure` as an `<svg>` with a title and a description, read aloud in place of it.

    Its inks become the page's variables, its white the page's paper. `name` is a plain word,
    another one for each picture of a page: it keeps their parts apart.
    """
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(picture_bytes(figure, ".svg"))
    for element in (*root.findall(f"{{{_SVG}}}metadata"), *root.findall(f"{{{_SVG}}}defs")):
        if element.tag.endswith("metadata") or element.find(f"{{{_SVG}}}style") is not None:
            root.remove(element)  # its rules would hold for the whole page
    for element in root.iter():
        _recolour(element)
        _rename(element, name)
    root.attrib = {"viewBox": root.attrib["viewBox"], "class": "picture", "role": "img"}
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        told = ElementTree.Element(f"{{{_SVG}}}{tag}")
        told.set("id", f"{name}-{'title' if tag == 'title' else 'description'}")
        told.text = text
        root.insert(place, told)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _recolour(element: ElementTree.Element) -> None:
    style = element.get("style")
    if style is None:
        return
    for colour, variable in _VARIABLES.items():
        style = style.replace(colour, variable)
    element.set("style", _WHITE.sub("var(--paper)", style))


def _rename(element: ElementTree.Element, name: str) -> None:
    """Put `name` before the names of parts and before what points to them."""
    if (own := element.get("id")) is not None:
        element.set("id", f"{name}-{own}")
    if (target := element.attrib.pop(f"{{{_LINK}}}href", None)) is not None:
        element.set("href", f"#{name}-{target[1:]}")
    for attribute, text in element.attrib.items():
        if "url(#" in text:
            element.set(attribute, text.replace("url(#", f"url(#{name}-"))
