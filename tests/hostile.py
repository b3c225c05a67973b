"""Names that a stranger may give to tensors and models, and what must not come of them."""

import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from markdown_it import MarkdownIt

from making import Floats, llama_values, raw_safetensors, tensor_info

NAMES = (
    "</script><img src=x onerror=alert(1)>",
    "{{7*7}}{% raw %}",
    "[red]bold[/red]",
    "\x1b[31mred\x1b[0m\x1b]8;;http://example.com\x07",
    "\u202egnp.exe\u2066",
    "__proto__",
    "constructor",
    "'\"--><svg onload=alert(2)>",
    "|`x`| [a](javascript:alert(3)) ![b](http://example.com/c.png)",
    "${alert(4)}`",
    "x" * 500,
)
"""Kinds of matrices, one in each of `LAYERS` blocks."""

LAYERS = 4

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "script"),
    *("header", "main", "section", "h1", "h2", "h3", "h4", "p", "div", "span", "ul", "ol", "li"),
    *(
        "dl",
        "dt",
        "dd",
        "b",
        "strong",
        "em",
        "i",
        "code",
        "pre",
        "a",
        "br",
        "wbr",
        "small",
        "sub",
        "sup",
    ),
    *("table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td"),
    *("figure", "figcaption", "details", "summary"),
    *("button", "input", "select", "option", "label", "output", "fieldset", "legend", "datalist"),
    *("svg", "g", "path", "rect", "line", "circle", "text", "tspan", "desc", "defs", "use"),
    *("clippath", "polyline", "polygon", "ellipse", "symbol", "marker", "pattern"),
}
"""The elements that pages are made of."""

ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "id", "style", "hidden"),
    *("title", "role", "scope", "colspan", "rowspan", "headers", "dir", "tabindex", "open"),
    *("type", "value", "min", "max", "step", "for", "list", "placeholder", "selected", "checked"),
    *("disabled", "autocomplete", "spellcheck", "href"),
    *("viewbox", "width", "height", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry"),
    *("d", "points", "transform", "fill", "stroke", "clip-path", "preserveaspectratio", "dx", "dy"),
    *("stroke-width", "stroke-dasharray", "text-anchor", "dominant-baseline", "font-size"),
    *("opacity", "fill-opacity", "vector-effect", "xmlns", "version", "clip-rule", "pathunits"),
    *("clippathunits", "patternunits", "focusable", "pointer-events", "font-weight"),
}
"""The attributes that they may carry, besides `aria-` and `data-`."""


def write_hostile(folder: Path, seed: int = 11) -> None:
    """A checkpoint in `folder` whose kinds bear `NAMES`, a plain kind beside them."""
    chance = np.random.default_rng(seed)
    values: dict[str, Floats] = {}
    plain = llama_values(layers=LAYERS, hidden=32, seed=3)
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}"
        values[f"{stem}.mlp.up_proj.weight"] = plain[f"{stem}.mlp.up_proj.weight"]
        for name in NAMES:
            noise = chance.standard_normal((32, 24), dtype=np.float32)
            values[f"{stem}.{name}.weight"] = 0.02 * noise + 0.05 * np.outer(noise[:, 0], noise[0])
    values["</title><script>alert(5)</script>"] = np.ones(8, dtype=np.float32)
    header: dict[str, object] = {}
    parts: list[bytes] = []
    for name, value in values.items():
        header[name] = tensor_info("F32", value.shape, sum(map(len, parts)))
        parts.append(np.ascontiguousarray(value, dtype="<f4").tobytes())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(raw_safetensors(header, b"".join(parts)))


def assert_plain_text(text: str) -> None:
    """Assert that a terminal would obey nothing in `text`, and reorder nothing."""
    for character in text:
        assert character == "\n" or unicodedata.category(character) not in {
            *("Cc", "Cf", "Cs", "Co", "Zl", "Zp"),
        }, f"U+{ord(character):04X} in the output"


def assert_page_is_ours(page: str) -> None:
    """Assert that a page has none but our elements and attributes, and asks for nothing."""
    tags: list[str] = []
    found: list[tuple[str, str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            found.extend((name, value or "") for name, value in attrs)

    reader = Reader()
    reader.feed(page)
    reader.close()
    assert set(tags) <= TAGS, set(tags) - TAGS
    names = {name for name, _ in found if not name.startswith(("aria-", "data-"))}
    assert names <= ATTRIBUTES, names - ATTRIBUTES
    assert tags.count("html") == tags.count("head") == tags.count("body") == 1
    for name, value in found:
        if name == "href":
            assert value.startswith(("#", "https://")), value
        if name == "style":
            assert "url(" not in value.replace("url(#", ""), value
    assert_plain_text(page)


def assert_markdown_is_text(markdown: str) -> None:
    """Assert that Markdown, as GitHub reads it, holds no markup, link or picture of a stranger."""
    assert_plain_text(markdown)
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    for block in reader.parse(markdown):
        assert block.type != "html_block", block.content
        for token in block.children or ():
            assert token.type not in {"image", "link_open"}, block.content
            assert token.type != "html_inline" or re.fullmatch(r"<!-- *-->", token.content), token
