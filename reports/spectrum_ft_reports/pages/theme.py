"""The colours of pages, in the light and in the dark; pictures take theirs from the same hues."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Every colour of a page, as `#rrggbb`; a field is the CSS variable of that name."""

    paper: str
    """Behind everything."""
    card: str
    """Behind what stands out: figures, tables' heads, code."""
    ink: str
    """Text."""
    grey: str
    """Text that matters less."""
    faint: str
    """Rules and the lines of grids."""
    link: str
    """Links, and what can be clicked."""
    low: str
    """The lowest score of a heat map."""
    high: str
    """The highest one: the same hue."""
    chosen: str
    """The outline of what trains in full."""
    adapted: str
    """What carries an adapter."""
    packed: str
    """What is kept in 4 or 8 bits."""
    frozen: str
    """What stays as it is."""
    caution: str
    """What to beware of: text and the edge of a banner."""
    series: tuple[str, ...]
    """The arms of a comparison, told apart by all kinds of sight: `--series-0` and on."""


LIGHT = Theme(
    paper="#ffffff",
    card="#f6f8fa",
    ink="#1f2328",
    grey="#59636e",
    faint="#d8dee4",
    link="#0759a8",
    low="#eef4fa",
    high="#0a4d8c",
    chosen="#bc4c00",
    adapted="#8250df",
    packed="#8c959f",
    frozen="#d0d7de",
    caution="#9a5b00",
    # After Okabe and Ito; darker, so that all of them stand out from white, and no pure black,
    # which an SVG leaves unsaid.
    series=("#1464a0", "#a83200", "#0f7a58", "#8e2f78", "#1a1a1a", "#1f97f2", "#bd8700"),
)
DARK = Theme(
    paper="#0d1117",
    card="#161b22",
    ink="#e6edf3",
    grey="#9198a1",
    faint="#30363d",
    link="#58a6ff",
    low="#14222f",
    high="#79c0ff",
    chosen="#ffa657",
    adapted="#bc8cff",
    packed="#6e7681",
    frozen="#3d444d",
    caution="#e3b341",
    series=("#3b94ea", "#f2651d", "#2edf9e", "#d564a0", "#f0f3f6", "#a9d2fc", "#fbd356"),
)


def css_variables(theme: Theme) -> str:
    """The theme as declarations: `--paper: #ffffff; ...`."""
    named = {f.name: getattr(theme, f.name) for f in fields(theme) if f.name != "series"}
    named |= {f"series-{place}": colour for place, colour in enumerate(theme.series)}
    return " ".join(f"--{name}: {colour};" for name, colour in named.items())


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    first, second = sorted((_luminance(one), _luminance(other)))
    return (second + 0.05) / (first + 0.05)


def _luminance(colour: str) -> float:
    """The relative luminance of `#rrggbb`, in [0, 1] (WCAG 2.2)."""
    channels = (int(colour[place : place + 2], 16) / 255.0 for place in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
