"""The frame that every page stands in: its policy, its colours, its beginning and its end."""

import base64
import hashlib
import re
from dataclasses import fields
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from jinja2 import UndefinedError

from framed import a_frame, a_masthead
from spectrum_ft.environment import current_environment
from spectrum_ft_reports.pages.masthead import Source, making
from spectrum_ft_reports.pages.rendering import render
from spectrum_ft_reports.pages.theme import DARK, LIGHT, Theme, contrast, css_variables
from spectrum_ft_reports.parts.facts import KeyFigure

HOSTILE = "</title></script><img src=x onerror=alert(1)>{{7*7}}\x1b[31m\u202e[red]"


def attributes(page: str) -> list[tuple[str, str, str]]:
    """(tag, attribute, value) of everything in `page`."""
    found: list[tuple[str, str, str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, "", ""))
            found.extend((tag, name, value or "") for name, value in attrs)

    reader = Reader()
    reader.feed(page)
    reader.close()
    return found


def policy_of(page: str) -> dict[str, list[str]]:
    """The directives of the policy in `page`."""
    (text,) = (value for _, name, value in attributes(page) if "default-src" in value)
    directives = (directive.split() for directive in text.split(";"))
    return {name: sources for name, *sources in directives}


def test_the_policy_admits_the_pages_own_scripts_by_their_hashes_and_nothing_else() -> None:
    page = a_frame()
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    policy = policy_of(page)
    assert len(scripts) == 2
    assert policy["script-src"] == [f"'sha256-{base64.b64encode(d).decode()}'" for d in digests]
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert policy["img-src"] == ["data:"]
    # Nothing may be fetched, sent, framed or connected to: what is not named falls to the default.
    assert set(policy) == {
        *("default-src", "script-src", "style-src"),
        *("img-src", "base-uri", "form-action"),
    }


def test_a_page_without_scripts_admits_none() -> None:
    page = a_frame(scripts=())
    assert policy_of(page)["script-src"] == ["'none'"]
    assert "<script" not in page


def test_the_policy_stands_before_whatever_it_governs() -> None:
    page = a_frame()
    assert page.index("Content-Security-Policy") < page.index("<style>") < page.index("<script>")
    assert page.index("<meta charset") < 1024  # browsers look no further (HTML, 4.2.5.4)


def test_nothing_in_the_frame_points_elsewhere() -> None:
    page = a_frame()
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|https?:", page)


@pytest.mark.parametrize("name", ["table.js", "copy.js"])
def test_scripts_neither_make_markup_of_text_nor_code_nor_ask_for_anything(name: str) -> None:
    script = files("spectrum_ft_reports.pages").joinpath("templates", name).read_text("utf-8")
    assert script.startswith('"use strict";')
    dangerous = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|fetch|XMLHttp"
    assert not re.search(dangerous, script)


def test_a_strangers_text_stays_text_in_every_part_of_the_frame() -> None:
    figures = (KeyFigure(label=HOSTILE, value=HOSTILE, note=HOSTILE),)
    head = a_masthead(title=HOSTILE, verdict=HOSTILE, figures=figures, cautions=(HOSTILE,))
    made = making(
        command=HOSTILE, schema=HOSTILE, source=Source(name=HOSTILE, digest=""), environment=None
    )
    hostile, plain = a_frame(head=head, made=made), a_frame()
    tags = [tag for tag, name, _ in attributes(hostile) if not name]
    assert "img" not in tags
    assert tags.count("script") == 2
    assert not [name for _, name, _ in attributes(hostile) if name.startswith("on")]
    assert set(tags) == {tag for tag, name, _ in attributes(plain) if not name}
    assert "49" not in re.sub(r"<(style|script)>.*?</\1>", "", hostile, flags=re.DOTALL)


def test_what_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("base.html", head=a_masthead())


def test_a_page_says_how_its_record_was_made() -> None:
    environment = current_environment("cuda:0 NVIDIA H100")
    made = making(
        command="spectrum scan 'a b'\x1b[31m",
        schema="spectrum-ft/scan@1",
        source=Source(name="runs/scan.json", digest="ab" * 32),
        environment=environment,
    )
    facts = {fact.label: fact.text for fact in made.facts}
    assert made.command == "spectrum scan 'a b'\\x1b[31m"
    assert facts["record"] == "runs/scan.json, spectrum-ft/scan@1"
    assert facts["SHA-256"] == "ab" * 32
    assert facts["computed on"] == f"cuda:0 NVIDIA H100, {environment.platform}"
    assert (
        f"spectrum-ft {environment.spectrum_ft}, Python {environment.python}" in facts["versions"]
    )
    page = a_frame(made=made)
    assert "spectrum scan &#39;a b&#39;" in page
    assert all(text in page for text in facts.values())


def test_an_import_says_of_no_versions_and_no_command() -> None:
    source = Source(name="-", digest="")
    made = making(command="", schema="spectrum-ft/scan@1", source=source, environment=None)
    assert [fact.label for fact in made.facts] == ["record"]
    assert "<pre>" not in a_frame(made=made)


def test_long_commands_are_shown_whole() -> None:
    command = "spectrum compare " + ",".join(f"random-25:{seed}" for seed in range(300))
    source = Source(name="comparison.json", digest="")
    made = making(command=command, schema="", source=source, environment=None)
    assert made.command == command


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_on_paper_and_on_cards(theme: Theme) -> None:
    # WCAG 2.2, 1.4.3: 4.5 for text; 1.4.11: 3 for what has to be told apart.
    for behind in (theme.paper, theme.card):
        for text in ("ink", "grey", "link", "caution"):
            assert contrast(getattr(theme, text), behind) >= 4.5, (text, behind)
    for mark in ("chosen", "adapted", "packed", "high"):
        assert contrast(getattr(theme, mark), theme.paper) >= 3.0, mark


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0, abs=1e-9)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")
    assert contrast("#123456", "#123456") == 1.0


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_colour_is_a_variable_of_the_page(theme: Theme) -> None:
    declared = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", css_variables(theme)))
    assert {name: value for name, value in declared.items() if "-" not in name} == {
        field.name: getattr(theme, field.name)
        for field in fields(theme)
        if isinstance(getattr(theme, field.name), str)
    }
    assert css_variables(theme) in a_frame()


def test_every_variable_that_the_style_uses_is_a_colour_of_the_theme() -> None:
    style = files("spectrum_ft_reports.pages").joinpath("templates", "style.css").read_text("utf-8")
    declared = set(re.findall(r"--([\w-]+):", css_variables(LIGHT)))
    assert set(re.findall(r"var\(--([\w-]+)\)", style)) <= declared
