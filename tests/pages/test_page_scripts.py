"""What scripts add to a page: tables that sort and filter, commands that are copied."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser import opened
from framed import write_page

pytestmark = pytest.mark.xdist_group("browser")

ROWS = (
    ("layer 10", "2.50", "2.43 GiB", 2609192632),
    ("layer 2", "-", "612 MiB", 641728512),
    ("Layer 1 (a+b", "1,000", "1 KiB", 1024),
    ("layer 9", "-0.3", "0 MiB", 0),
    ("layer 0", "", "1 MiB", 1048576),
)


def table(name: str = "t") -> str:
    """A table with a column of names, one of figures, one that says what it sorts by."""
    body = "".join(
        f'<tr><td>{label}</td><td data-sort="{figure.replace(",", "")}">{figure}</td>'
        f'<td data-sort="{num_bytes}">{size}</td></tr>'
        for label, figure, size, num_bytes in ROWS
    )
    return (
        f'<p class="controls" hidden><label>Filter <input data-filters="{name}"></label> '
        f'<span data-counts="{name}"></span></p>'
        f'<table class="sortable" id="{name}"><thead><tr><th>name</th><th>score</th>'
        f"<th>memory</th></tr></thead><tbody>{body}</tbody></table>"
    )


@contextmanager
def page_with(
    browser: Browser, folder: Path, content: str, *, clipboard: bool = False, scripts: bool = True
) -> Iterator[Page]:
    """A page with `content`, open; whatever it does that it should not is a failure."""
    path = write_page(folder / "page.html", content)
    with opened(browser, path, clipboard=clipboard, scripts=scripts) as watched:
        yield watched.page
        assert watched.complaints == []


def column(page: Page, number: int, name: str = "t") -> list[str]:
    """The texts of a column, of the rows that show."""
    return page.locator(f"#{name} tbody tr:not([hidden]) td:nth-child({number})").all_inner_texts()


def test_a_click_on_a_header_sorts_and_another_turns_it_round(
    browser: Browser, tmp_path: Path
) -> None:
    with page_with(browser, tmp_path, table()) as page:
        page.click("#t th:nth-child(3) button")
        assert column(page, 3) == ["2.43 GiB", "612 MiB", "1 MiB", "1 KiB", "0 MiB"]
        assert page.get_attribute("#t th:nth-child(3)", "aria-sort") == "descending"
        page.click("#t th:nth-child(3) button")
        assert column(page, 3) == ["0 MiB", "1 KiB", "1 MiB", "612 MiB", "2.43 GiB"]
        assert page.get_attribute("#t th:nth-child(3)", "aria-sort") == "ascending"
        page.click("#t th:nth-child(1) button")
        assert page.locator("#t th[aria-sort]").count() == 1


def test_names_sort_by_the_numbers_in_them(browser: Browser, tmp_path: Path) -> None:
    with page_with(browser, tmp_path, table()) as page:
        page.click("#t th:nth-child(1) button")
        page.click("#t th:nth-child(1) button")
        assert column(page, 1) == ["layer 0", "Layer 1 (a+b", "layer 2", "layer 9", "layer 10"]


def test_what_has_no_value_stays_at_the_end_whichever_way(browser: Browser, tmp_path: Path) -> None:
    with page_with(browser, tmp_path, table()) as page:
        page.click("#t th:nth-child(2) button")
        assert column(page, 2)[:3] == ["1,000", "2.50", "-0.3"]
        page.click("#t th:nth-child(2) button")
        assert column(page, 2)[:3] == ["-0.3", "2.50", "1,000"]


def test_rows_alike_keep_their_order(browser: Browser, tmp_path: Path) -> None:
    rows = "".join(f"<tr><td>{n}</td><td>1</td></tr>" for n in range(40))
    alike = (
        '<table class="sortable" id="t"><thead><tr><th>n</th><th>one</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    with page_with(browser, tmp_path, alike) as page:
        for _ in range(2):
            page.click("#t th:nth-child(2) button")
            assert column(page, 1) == [str(n) for n in range(40)]


def test_the_filter_takes_rows_with_every_word_in_them(browser: Browser, tmp_path: Path) -> None:
    with page_with(browser, tmp_path, table()) as page:
        page.fill("input", "LAYER mib")
        assert column(page, 1) == ["layer 2", "layer 9", "layer 0"]
        assert page.inner_text("[data-counts]") == "3 of 5"
        page.fill("input", "1 (a+b")
        assert column(page, 1) == ["Layer 1 (a+b"]
        page.click("#t th:nth-child(1) button")
        assert column(page, 1) == ["Layer 1 (a+b"]
        page.fill("input", "nothing like it")
        assert column(page, 1) == []
        page.fill("input", "")
        assert len(column(page, 1)) == 5


def test_two_tables_are_sorted_and_filtered_each_for_itself(
    browser: Browser, tmp_path: Path
) -> None:
    with page_with(browser, tmp_path, table("one") + table("two")) as page:
        before = column(page, 1, "two")
        page.click("#one th:nth-child(1) button")
        page.fill("[data-filters=one]", "GiB")
        assert column(page, 1, "one") == ["layer 10"]
        assert column(page, 1, "two") == before


def test_tables_and_fields_are_reached_and_used_by_keys(browser: Browser, tmp_path: Path) -> None:
    with page_with(browser, tmp_path, table()) as page:
        page.keyboard.press("Tab")
        page.keyboard.type("gib")
        assert column(page, 1) == ["layer 10"]
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.get_attribute("#t th:nth-child(1)", "aria-sort") == "descending"
        page.keyboard.press("Space")
        assert page.get_attribute("#t th:nth-child(1)", "aria-sort") == "ascending"
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.get_attribute("#t th:nth-child(2)", "aria-sort") == "descending"


def test_without_scripts_there_is_nothing_that_would_do_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    with page_with(browser, tmp_path, table(), scripts=False) as page:
        assert page.locator("button:visible, input:visible").count() == 0
        assert len(column(page, 1)) == len(ROWS)


def test_a_command_is_copied_to_the_letter(browser: Browser, tmp_path: Path) -> None:
    text = "spectrum plan 'a &amp; b.json' --top 25% &lt;x&gt;\n  -o plan.yaml"
    content = (
        f'<div class="command"><pre><code>{text}</code></pre>'
        '<button type="button" class="copy" hidden>Copy</button></div>'
    )
    with page_with(browser, tmp_path, content, clipboard=True) as page:
        button = page.locator("button.copy").first
        button.click()
        expect(button).to_have_text("Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == "spectrum plan 'a & b.json' --top 25% <x>\n  -o plan.yaml"
        expect(button).to_have_text("Copy")


def test_where_nothing_may_be_copied_the_command_is_selected(
    browser: Browser, tmp_path: Path
) -> None:
    path = write_page(tmp_path / "page.html", "")
    with opened(browser, path) as watched:
        watched.page.evaluate(
            "Object.defineProperty(navigator, 'clipboard', {value: {writeText: () => "
            "Promise.reject(new DOMException('no', 'NotAllowedError'))}})"
        )
        button = watched.page.locator("button.copy").first
        button.click()
        expect(button).to_have_text("Selected")
        selected = watched.page.evaluate("String(getSelection())")
        assert selected == "spectrum scan ./model -o scan.json"
        assert watched.complaints == []


def test_the_watch_sees_all_that_a_page_should_not_do(browser: Browser, tmp_path: Path) -> None:
    """The positive control of every test that finds nothing to complain about."""
    bare = tmp_path / "bare.html"
    bare.write_text(
        "<!doctype html><p>x</p><img src='picture.png'><script>console.error('told');"
        "fetch('http://localhost:9/').catch(() => null); alert('asked'); throw Error('thrown')"
        "</script>",
        "utf-8",
    )
    with opened(browser, bare) as watched:
        watched.page.wait_for_timeout(200)
    assert "error: told" in watched.console
    assert watched.errors == ["thrown"]
    assert watched.dialogs == ["asked"]
    assert watched.requests[0].endswith("/picture.png")
    assert "http://localhost:9/" in watched.requests


@pytest.mark.parametrize(
    "markup",
    [
        "<script>document.title = 'run'</script>",
        "<img src=x onerror=\"document.title = 'run'\">",
        "<p onclick='1'>x</p><a href=\"javascript:document.title='run'\" id=go>go</a>",
        "<iframe srcdoc=\"<script>parent.document.title = 'run'</script>\"></iframe>",
    ],
)
def test_the_policy_keeps_a_strangers_markup_from_running(
    browser: Browser, tmp_path: Path, markup: str
) -> None:
    """Even if a text were taken for markup, which the other tests say it is not."""
    path = write_page(tmp_path / "page.html", markup)
    with opened(browser, path) as watched:
        if watched.page.locator("#go").count():
            watched.page.click("#go")
        watched.page.wait_for_timeout(100)
        assert watched.page.title() != "run"
        assert watched.dialogs == watched.errors == []
        assert any("Content Security Policy" in line for line in watched.console)
