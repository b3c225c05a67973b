"""The documentation's site: it builds strictly, fetches nothing, and leaves nothing out."""

import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from urllib.parse import unquote, urlsplit

import click
import pytest
from playwright.sync_api import Browser

import spectrum_ft
from browser import NARROW, SCHEMES, WIDE, opened
from doc_blocks import DOCS, ROOT
from spectrum_ft import records
from spectrum_ft_cli.main import COMMANDS, cli

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

FETCHING = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "link": ("href",),
    "form": ("action",),
}
"""The attributes that make a browser ask for something, or send it somewhere."""


@dataclass(slots=True)
class Page(HTMLParser):
    """What a page of the site has and refers to."""

    anchors: set[str] = field(default_factory=set)
    """Its ids."""
    links: list[str] = field(default_factory=list)
    """Where its links lead."""
    fetched: list[str] = field(default_factory=list)
    """What a browser fetches for it."""

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what matters of a tag."""
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.fetched += [given[name] for name in FETCHING.get(tag, ()) if given.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from nothing by the recipe of `make docs`."""
    folder = tmp_path_factory.mktemp("site") / "html"
    recipe = re.search(r"^docs:.*\n\t(.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert recipe is not None
    words = shlex.split(recipe[1].replace("$(BIN)/python", sys.executable))
    assert words[-2:] == ["docs", "docs/_build/html"]
    assert {"--fail-on-warning", "--nitpicky"} <= set(words)
    done = subprocess.run(
        [*words[:-1], str(folder)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def built(site: Path) -> dict[str, Page]:
    """Every page of the site, by its path in it."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        page = Page()
        page.feed(path.read_text("utf-8"))
        found[path.relative_to(site).as_posix()] = page
    return found


def test_every_page_that_somebody_wrote_is_built(built: dict[str, Page]) -> None:
    written = {
        path.relative_to(DOCS).with_suffix(".html").as_posix()
        for path in DOCS.rglob("*.md")
        if "_build" not in path.parts
    }
    assert len(written) > 30
    assert written <= set(built)


def test_no_page_fetches_anything_from_elsewhere(built: dict[str, Page], site: Path) -> None:
    for name, page in built.items():
        foreign = [it for it in page.fetched if urlsplit(it).scheme or it.startswith("//")]
        assert not [it for it in foreign if not it.startswith("data:")], name
    for path in site.rglob("*.css"):
        text = path.read_text("utf-8")
        assert not re.findall(r"url\(\s*[\"']?(?:https?:)?//|@import", text), path


def test_every_link_inside_the_site_leads_to_a_place_that_is_there(
    built: dict[str, Page], site: Path
) -> None:
    broken = []
    for name, page in built.items():
        for link in (*page.links, *page.fetched):
            to = urlsplit(link)
            if to.scheme or to.netloc:
                continue
            target = (site / name).parent / unquote(to.path) if to.path else site / name
            path = os.path.relpath(target.resolve(), site.resolve())
            if not target.exists() or path.startswith(".."):
                broken.append(f"{name}: {link}")
            elif to.fragment and path in built:
                anchors = built[path].anchors | {""}
                if unquote(to.fragment) not in anchors:
                    broken.append(f"{name}: {link}")
    assert not broken


def test_every_command_and_every_option_has_an_entry(built: dict[str, Page]) -> None:
    for name in COMMANDS:
        anchors = built[f"_generated/command-line/{name}.html"].anchors
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        for path, parameter in options_of(command, f"spectrum-{name}"):
            entry = f"cmdoption-{path}-{max(parameter.opts, key=len).lstrip('-')}"
            assert entry in anchors, entry


def options_of(command: click.Command, path: str) -> Iterator[tuple[str, click.Option]]:
    """Every option of a command, or of a group's commands, with the words before it."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from options_of(inner, f"{path}-{name}")
        return
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield path, parameter


def test_every_public_name_has_an_entry(built: dict[str, Page]) -> None:
    anchors = {anchor for page in built.values() for anchor in page.anchors}
    missing = [name for name in spectrum_ft.__all__ if f"spectrum_ft.{name}" not in anchors]
    assert not missing


def test_every_field_of_every_record_is_in_a_table(built: dict[str, Page], site: Path) -> None:
    pages = {n: p for n, p in built.items() if n.startswith("_generated/records/")}
    texts = {name: (site / name).read_text("utf-8") for name in pages}
    reachable = 0
    for record in record_classes():
        anchor = f"record-{record.__name__.lower()}"
        homes = [name for name, page in pages.items() if anchor in page.anchors]
        assert len(homes) <= 1, record
        for name in homes:
            reachable += 1
            for part in fields(record):
                assert f">{part.name}</span>" in texts[name], (record, part.name)
    assert reachable > 30


def record_classes() -> Iterator[type]:
    """The dataclasses of the records."""
    for info in iter_modules(records.__path__):
        module = import_module(f"spectrum_ft.records.{info.name}")
        for thing in vars(module).values():
            if (
                inspect.isclass(thing)
                and is_dataclass(thing)
                and thing.__module__ == module.__name__
            ):
                yield thing


@pytest.mark.parametrize("name", ["index", "method", "_generated/records/scan", "troubleshooting"])
def test_a_page_opens_from_disk_without_a_request_or_a_complaint(
    site: Path, browser: Browser, name: str
) -> None:
    for scheme in SCHEMES:
        for width in (WIDE, NARROW):
            with opened(browser, site / f"{name}.html", scheme=scheme, width=width) as page:
                assert not page.console + page.errors + page.dialogs
                assert all(asked.startswith(("file:", "data:")) for asked in page.requests)
                over = "document.documentElement.scrollWidth > innerWidth"
                assert not page.page.evaluate(over), (name, width)


def test_formulas_are_drawn_without_a_script(site: Path, browser: Browser) -> None:
    with opened(browser, site / "method.html", scripts=False) as page:
        boxes = page.page.locator("div.formula math").all()
        assert len(boxes) >= 8
        for box in boxes:
            size = box.bounding_box()
            assert size is not None
            assert size["height"] > 15  # pixels: at least a line of text


def test_the_search_finds_without_a_network(site: Path, browser: Browser) -> None:
    with opened(browser, site / "search.html") as page:
        page.page.goto((site / "search.html").as_uri() + "?q=marchenko")
        page.page.wait_for_selector("#search-results li a", timeout=10_000)
        found = page.page.locator("#search-results li a").all_inner_texts()
        assert "Method" in found
        assert not page.console + page.errors
        assert all(asked.startswith(("file:", "data:")) for asked in page.requests)
