"""What is said of a diff: on a terminal and as Markdown."""

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console

from made_diffs import a_diff, hostile_diff, imported_diff, same_diff
from spectrum_ft.records.diffs import ScanDiff
from spectrum_ft_reports.diffs.markdown import diff_markdown
from spectrum_ft_reports.diffs.terminal import print_diff
from spectrum_ft_reports.diffs.views import diff_view

Approved = Callable[[str, str], str]


def rendered(found: ScanDiff, width: int, *, encoding: str = "utf-8", limit: int = 20) -> str:
    """What a console of `width` columns without colours shows."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(file=file, width=width, highlight=False, no_color=True)
    print_diff(console, diff_view(found, limit=limit))
    file.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert max(map(cell_len, lines)) <= width
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


CASES = {
    "diff-60": lambda: rendered(a_diff(), 60),
    "diff-80": lambda: rendered(a_diff(), 80),
    "diff-80-from-files": lambda: rendered(a_diff(distances=False), 80, limit=2),
    "diff-120": lambda: rendered(a_diff(), 120),
    "diff-80-ascii": lambda: rendered(a_diff(), 80, encoding="ascii"),
    "diff-80-same": lambda: rendered(same_diff(), 80),
    "diff-80-import": lambda: rendered(imported_diff(), 80),
    "diff-markdown": lambda: diff_markdown(diff_view(a_diff())),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_diff_reads_as_it_was_approved(name: str, approved: Approved) -> None:
    text = CASES[name]()
    assert text == approved(name, text)


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nothing_is_wider_than_the_console_and_nothing_hostile_gets_through(
    width: int, encoding: str
) -> None:
    shown = rendered(hostile_diff(), width, encoding=encoding)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    if width >= 40:
        assert "[red]" in re.sub(r"\s", "", shown)


def test_hostile_names_are_text_in_markdown() -> None:
    markdown = diff_markdown(diff_view(hostile_diff()))
    html = MarkdownIt("commonmark").enable("table").render(markdown)
    assert "\x1b" not in markdown
    assert "\u202e" not in markdown
    assert "<script" not in html
    assert "<b>" not in html
    assert html.count("<table>") == 2
    kinds, matrices = html.split("<table>")[1:]
    assert {row.count("<td") for row in kinds.split("<tr>")[2:]} == {7}
    assert {row.count("<td") for row in matrices.split("<tr>")[2:]} == {7}


def test_figures_are_the_same_in_terminal_and_markdown() -> None:
    view = diff_view(a_diff(distances=False))
    wide, markdown = rendered(a_diff(distances=False), 200), diff_markdown(view)
    for row in (*view.kinds, *view.matrices):
        for field in ("correlation", "medians", "shift", "scores", "change", "spectrum", "rank"):
            figure = getattr(row, field, "")
            assert figure in wide
            assert figure in markdown


def test_what_almost_agrees_does_not_read_as_if_it_did() -> None:
    found = a_diff()
    kind = replace(found.kinds[0], correlation=0.99996)
    view = diff_view(replace(found, kinds=(kind,)))
    assert view.kinds[0].correlation == "0.999+"
    opposite = diff_view(replace(found, kinds=(replace(kind, correlation=-0.99996),)))
    assert opposite.kinds[0].correlation == "-0.999+"
