"""Every page in a real browser: in the light and the dark, wide and narrow, without scripts."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from browser import NARROW, SCHEMES, WIDE, Scheme, opened
from page_questions import CLIPPED, SIDEWAYS, TEXT_CONTRASTS, UNNAMED
from page_records import KINDS

pytestmark = pytest.mark.xdist_group("browser")

PageOf = Callable[[str], Path]

UNITS = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", KINDS)
def test_a_page_opens_without_an_error_a_request_or_a_dialog(
    browser: Browser, page_of: PageOf, name: str, scheme: Scheme, scripts: bool
) -> None:
    with opened(browser, page_of(name), scheme=scheme, scripts=scripts) as watched:
        watched.page.wait_for_timeout(50)
        assert watched.complaints == []


@pytest.mark.parametrize("name", KINDS)
def test_a_page_is_complete_without_scripts(browser: Browser, page_of: PageOf, name: str) -> None:
    with opened(browser, page_of(name), scripts=False) as watched:
        page = watched.page
        assert page.locator("h1").count() == 1
        assert page.inner_text(".verdict").endswith(".")
        assert 1 <= page.locator(".figures > div").count() <= 6
        assert all(text.strip() for text in page.locator(".figures dd").all_inner_texts())
        titles = [title.split("\n")[0] for title in page.locator("main h2").all_inner_texts()]
        assert titles[-2:] == ["How to read this", "How this was made"]
        assert page.locator("#how-to-read p:visible, #how-to-read li:visible").count() >= 1
        for drawn in page.locator("svg[role=img]:visible").all():
            box = drawn.bounding_box()
            assert box is not None
            assert box["width"] > 40
            assert box["height"] > 8
        for table in page.locator("table:visible").all():
            assert table.locator("tbody tr").count() >= 1
        # What only a script could answer is not offered.
        offered = "button:visible, input:visible, select:visible, [role=slider]:visible"
        assert page.locator(offered).count() == 0


@pytest.mark.parametrize("name", KINDS)
def test_scripts_take_nothing_away_from_what_is_read(
    browser: Browser, page_of: PageOf, name: str
) -> None:
    texts = []
    for scripts in (False, True):
        with opened(browser, page_of(name), scripts=scripts) as watched:
            cells = watched.page.locator("main td:visible, main dd:visible, main p:visible")
            texts.append(set(cells.all_inner_texts()))
    assert len(texts[0] - texts[1]) <= 0.05 * len(texts[0]), texts[0] - texts[1]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("width", [NARROW, 320, WIDE])
@pytest.mark.parametrize("name", KINDS)
def test_a_page_does_not_scroll_sideways(
    browser: Browser, page_of: PageOf, name: str, width: int, scripts: bool
) -> None:
    with opened(browser, page_of(name), width=width, scripts=scripts) as watched:
        watched.page.evaluate(OPEN_DETAILS)
        assert watched.page.evaluate(SIDEWAYS) == []
        assert watched.page.evaluate(CLIPPED) == []


OPEN_DETAILS = "() => { for (const d of document.querySelectorAll('details')) d.open = true; }"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", KINDS)
def test_every_text_can_be_read(
    browser: Browser, page_of: PageOf, name: str, scheme: Scheme
) -> None:
    with opened(browser, page_of(name), scheme=scheme, height=9000) as watched:
        watched.page.evaluate(OPEN_DETAILS)
        found = watched.page.evaluate(TEXT_CONTRASTS)
        assert len(found) > 30
        dim = {(text, round(value, 2)) for text, value, least in found if value < least}
        assert not dim


@pytest.mark.parametrize("name", KINDS)
def test_everything_has_a_name_to_be_read_aloud(
    browser: Browser, page_of: PageOf, name: str
) -> None:
    with opened(browser, page_of(name)) as watched:
        assert watched.page.evaluate(UNNAMED) == []
        levels = watched.page.locator("h1, h2, h3, h4").evaluate_all(
            "all => all.map(heading => Number(heading.tagName[1]))"
        )
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", KINDS)
def test_a_page_prints_in_the_light_and_without_controls(
    browser: Browser, page_of: PageOf, name: str
) -> None:
    with opened(browser, page_of(name), scheme="dark") as watched:
        page = watched.page
        assert page.pdf().startswith(b"%PDF-")
        page.emulate_media(media="print")
        used = ".controls:visible, button.copy:visible, input:visible, select:visible"
        assert page.locator(used).count() == 0
        # Scripts make buttons of heads, which have to stay.
        heads = page.locator("thead th:visible").all_inner_texts()
        assert all(text.strip() for text in heads)
        paper = page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor")
        assert paper == "rgb(255, 255, 255)"
        assert watched.complaints == []


@pytest.mark.parametrize("name", KINDS)
def test_every_column_of_a_table_sorts_by_what_it_shows(
    browser: Browser, page_of: PageOf, name: str
) -> None:
    with opened(browser, page_of(name)) as watched:
        page = watched.page
        page.evaluate(OPEN_DETAILS)
        for table in page.locator("table.sortable").all():
            for place, button in enumerate(table.locator("thead th button").all(), start=1):
                for sign in (-1, 1):
                    button.click()
                    texts = table.locator(f"tbody tr td:nth-child({place})").all_inner_texts()
                    texts = (
                        texts or table.locator(f"tbody tr > :nth-child({place})").all_inner_texts()
                    )
                    values = [amount(text) for text in texts]
                    numbers = [value for value in values if value is not None]
                    if len(numbers) == len(
                        [text for text in texts if text.strip() not in {"", "-"}]
                    ):
                        assert numbers == sorted(numbers, key=lambda n: sign * n), (place, texts)
        assert watched.complaints == []


def amount(text: str) -> float | None:
    """The number that `text` shows, with its unit; None for anything else."""
    match = re.fullmatch(r"([-+−]?[\d,]*\.?\d+(?:e[-+]?\d+)?)\s*(\w+|%)?", text.strip())
    if match is None or (match[2] or "%") not in {"%", "s", "points", *UNITS}:
        return None
    number = float(match[1].replace(",", "").replace("−", "-"))
    return number * UNITS.get(match[2] or "", 1.0)


@pytest.mark.parametrize("name", KINDS)
def test_all_that_can_be_used_is_reached_by_the_tab_key_and_seen(
    browser: Browser, page_of: PageOf, name: str
) -> None:
    with opened(browser, page_of(name)) as watched:
        page = watched.page
        wanted = controls(page)
        reached = []
        for _ in range(len(wanted) + 10):
            page.keyboard.press("Tab")
            now = page.evaluate(FOCUSED)
            if now is None or now in reached:
                break
            reached.append(now)
        assert [control for control in wanted if control not in reached] == []


FOCUSED = """() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const all = [...document.querySelectorAll('body *')];
  const style = getComputedStyle(element);
  if (style.outlineStyle === 'none' && style.boxShadow === 'none')
    throw Error('the focus does not show on ' + element.outerHTML.slice(0, 100));
  return all.indexOf(element);
}"""


def controls(page: Page) -> list[int]:
    """The places in the document of what can be used: buttons, fields, links, folded parts."""
    found: list[int] = page.evaluate(
        """() => {
          const all = [...document.querySelectorAll('body *')];
          const used = 'button, input:not([type=radio]), select, a[href], summary';
          return [...document.querySelectorAll(used)].filter(
            e => e.checkVisibility() && !e.disabled && e.tabIndex >= 0).map(e => all.indexOf(e));
        }"""
    )
    return found


def test_pages_are_small(page_of: PageOf) -> None:
    sizes = {name: Path(page_of(name)).stat().st_size for name in KINDS}
    assert {name: size for name, size in sizes.items() if size > 400_000} == {}
