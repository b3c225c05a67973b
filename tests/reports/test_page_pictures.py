"""Pictures on pages: in the page's own colours, told apart in the light and in the dark, small."""

import re
from itertools import combinations
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from spectrum_ft_reports.drawing.files import picture_bytes
from spectrum_ft_reports.drawing.frames import blank_figure, framed_axes
from spectrum_ft_reports.drawing.strips import Strip, draw_strips
from spectrum_ft_reports.drawing.style import styled
from spectrum_ft_reports.pages.figures import inline_svg
from spectrum_ft_reports.pages.theme import DARK, LIGHT, Theme, contrast, css_variables


def a_figure(colour: str, name: str = "a <b>") -> Figure:
    """A line of 400 points and a word."""
    with styled():
        figure = blank_figure(2.0)
        axes = framed_axes(figure, bottom=0.5, height=1.4)
        axes.plot([i / 7 for i in range(400)], [(i * 37 % 101) / 3 for i in range(400)], colour)
        axes.text(0.5, 0.5, name)
        return figure


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_arms_stand_out_from_the_paper_and_from_each_other(theme: Theme) -> None:
    # WCAG 2.2, 1.4.11: at least 3 for what has to be seen.
    assert all(contrast(colour, theme.paper) >= 3.0 for colour in theme.series)
    assert len(set(theme.series)) == len(theme.series)
    for one, other in combinations(theme.series, 2):
        # No two of them are near in all three channels, of 255.
        channels = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (one, other)]
        assert max(abs(a - b) for a, b in zip(*channels, strict=True)) >= 40


def test_both_themes_have_as_many_arms_and_none_is_pure_black() -> None:
    assert len(LIGHT.series) == len(DARK.series)
    # matplotlib leaves a black out of an SVG, so that it could not become a variable.
    assert "#000000" not in {colour.lower() for colour in LIGHT.series}
    assert f"--series-0: {LIGHT.series[0]};" in css_variables(LIGHT)
    assert "--series:" not in css_variables(LIGHT)


@pytest.mark.parametrize("place", range(len(LIGHT.series)))
def test_an_arms_colour_becomes_the_pages(place: int) -> None:
    svg = inline_svg(a_figure(LIGHT.series[place]), "x", title="t", description="d")
    assert f"stroke: var(--series-{place})" in svg
    assert not re.search(r"#[0-9a-fA-F]{6}", svg)


def test_a_picture_on_a_page_is_the_one_in_the_file_to_a_tenth_of_a_point() -> None:
    figure = a_figure(LIGHT.series[0])
    file = ElementTree.fromstring(picture_bytes(figure, ".svg"))
    page = ElementTree.fromstring(inline_svg(figure, "x", title="t", description="d"))

    def longest(root: ElementTree.Element) -> list[float]:
        paths = [element.get("d", "") for element in root.iter()]
        return [float(x) for x in re.findall(r"-?[\d.]+", max(paths, key=len))]

    written, shown = longest(file), longest(page)
    assert len(written) > 400  # matplotlib leaves out what lies on a line
    assert shown == pytest.approx(written, abs=0.051)


def test_a_picture_on_a_page_takes_far_less_room_than_its_file() -> None:
    figure = a_figure(LIGHT.series[0])
    page = inline_svg(figure, "x", title="t", description="d")
    assert len(page) < 0.7 * len(picture_bytes(figure, ".svg"))
    assert "font-family" not in page  # the page's own


def test_words_in_a_picture_stay_words() -> None:
    svg = inline_svg(a_figure("#123456", "<i>&lt;"), "x", title="<b>", description="a & b")
    root = ElementTree.fromstring(svg)
    assert "<i>&lt;" in [element.text for element in root.iter()]
    assert [element.text for element in root][:2] == ["<b>", "a & b"]


def test_texts_beside_axes_leave_them_room_however_long() -> None:
    with styled():
        figure = blank_figure(2.0)
        axes = framed_axes(figure, bottom=0.5, height=1.0, left=["x" * 900], right=["y" * 900])
    assert axes.get_position().width > 0.1


@pytest.mark.parametrize("values", [{}, {0: 0.0}, {0: -1e-300, 3: 1e-300}, {2: 1.0}, {10**9: 1.0}])
def test_strips_are_drawn_of_any_values(values: dict[int, float]) -> None:
    with styled():
        figure = blank_figure(2.0)
        axes = framed_axes(figure, bottom=0.5, height=1.0)
        draw_strips(axes, [Strip(name="a", values=values, text="", colour="#123456")], layers=4)
    assert inline_svg(figure, "x", title="t", description="d")
