"""A diff as a page and as a picture: what changed, where, and which selections change with it."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from hostile import NAMES, assert_markdown_is_text, assert_page_is_ours
from made_diffs import a_diff, finished, hostile_diff, imported_diff, same_diff
from page_text import text_of
from scans import matrix, one_kind
from spectrum_ft.diffing.diffing import diff
from spectrum_ft.record_files import to_json
from spectrum_ft.records.diffs import ScanDiff
from spectrum_ft_reports.diffs.headline import cautions, headline, key_figures
from spectrum_ft_reports.diffs.markdown import diff_markdown
from spectrum_ft_reports.diffs.page import LISTED_ON_PAGES, diff_page
from spectrum_ft_reports.diffs.pictures import draw, draw_for_page, pictures_of
from spectrum_ft_reports.diffs.views import diff_view
from spectrum_ft_reports.pages.masthead import Source
from train_program import Spectrum

Approved = Callable[[str, str], str]
SOURCE = Source(name="diff.json", digest="ab" * 32)


def page_of(found: ScanDiff) -> str:
    return diff_page(found, source=SOURCE)


def changed(found: ScanDiff, **changes: Any) -> ScanDiff:
    """`found`, all of whose matrices are changed alike."""
    return replace(found, matrices=tuple(replace(m, **changes) for m in found.matrices))


def large_diff(kinds: int, layers: int, experts: int = 1) -> ScanDiff:
    """A diff in which every matrix differs."""
    chance = random.Random(7)
    sides = [
        finished(
            [
                matrix(f"model.layers.{layer}.k{kind}.experts.{expert}.w.weight", chance.random())
                for kind in range(kinds)
                for layer in range(layers)
                for expert in range(experts)
            ],
            "~/model",
        )
        for _ in "ab"
    ]
    return diff(*sides)


@pytest.mark.parametrize(
    ("name", "make"),
    [("diff-page", a_diff), ("diff-page-same", same_diff), ("diff-page-import", imported_diff)],
)
def test_the_page_of_a_diff_reads_as_it_was_approved(
    name: str, make: Callable[[], ScanDiff], approved: Approved
) -> None:
    text = text_of(page_of(make()))
    assert text == approved(name, text)


def test_every_figure_on_the_page_is_the_views() -> None:
    view = diff_view(a_diff())
    cells = set(re.findall(r"<td[^>]*>([^<]*)", page_of(a_diff())))
    for kind in view.kinds:
        assert {kind.changed, kind.correlation, kind.picks, kind.jaccard, kind.medians} <= cells
        assert kind.shift in cells
    for row in view.matrices:
        assert {row.layer, row.scores, row.change, row.distance, row.rank, row.selected} <= cells


def test_a_change_sorts_by_its_value() -> None:
    rows = re.findall(r'<tr><td class="name">.*?</tr>', page_of(a_diff()), re.DOTALL)
    sorted_by = [re.findall(r'data-sort="([^"]*)"', row)[1] for row in rows]
    assert sorted_by[0] == ""  # what has no change stays at the end
    changes = [m.score_change for m in a_diff().matrices if m.score_change is not None]
    # Nine digits are written: far more than are shown.
    assert [float(text) for text in sorted_by[1:]] == pytest.approx(changes, rel=1e-8)


def test_a_verdict_tells_what_changed_and_what_stays_selected() -> None:
    made = a_diff()
    assert made.overlap is not None
    assert headline(made) == "5 of 25 matrices changed; of the 6 picks in A, 5 are picked in B."
    whole = replace(made, overlap=replace(made.overlap, shared=6))
    assert headline(whole).endswith("; all 6 picks in A are picked in B.")
    one = replace(made, overlap=replace(made.overlap, taken_a=1, shared=0))
    assert headline(one).endswith("; the pick in A is not picked in B.")
    assert headline(replace(made, overlap=None)).endswith("no kind is large enough to select from.")
    assert headline(same_diff()) == "A and B are the same in the 4 matrices that both scored."
    assert "differ in their score or selection" in headline(imported_diff())
    silent = replace(imported_diff(), matrices=())
    assert headline(silent).startswith("Neither a score nor the selection differs")


def test_the_figures_that_matter() -> None:
    told = {figure.label: (figure.value, figure.note) for figure in key_figures(a_diff())}
    assert told == {
        "matrices changed": ("5 of 25", "20 identical"),
        "selected in both": ("5 of 6", "Jaccard 0.714"),
        "largest change of snr": ("+51.7 %", "mlp.up_proj, layer 5"),
        "least rank correlation": ("0.786", "mlp.up_proj"),
    }
    assert "matrices changed" not in {figure.label for figure in key_figures(imported_diff())}


def test_what_makes_a_and_b_less_comparable_is_told() -> None:
    assert cautions(a_diff()) == (
        "1 matrix of A has no score in B.",
        "1 matrix of B has no score in A.",
    )
    assert any("no digests" in text for text in cautions(imported_diff()))
    assert any("other devices" in text for text in cautions(hostile_diff()))
    assert cautions(same_diff()) == ()
    assert "2 matrices have another shape in B." in cautions(replace(same_diff(), reshaped=2))


def test_the_picture_marks_what_enters_and_what_leaves() -> None:
    axes = draw(a_diff(), "score").axes[0]
    marks = {line.get_marker(): np.asarray(line.get_xdata()).tolist() for line in axes.lines}
    assert marks["^"] == [5]
    assert marks["v"] == [6]


def test_bars_stand_where_the_scores_changed_and_as_high_as_they_did() -> None:
    axes = draw(a_diff(), "score").axes[0]
    path = axes.patches[0].get_path().vertices.reshape(-1, 5, 2)  # type: ignore[union-attr]  # (bars, corners, 2)
    heights = {round(float(bar[:, 0].mean())): float(bar[0, 1] - bar[1, 1]) for bar in path}
    changes = {m.layer: m.score_change for m in a_diff().matrices if m.kind == "mlp.up_proj"}
    assert set(heights) == {2, 5, 6}
    for layer, height in heights.items():
        change, most = changes[layer], changes[5]
        assert change is not None
        assert most is not None
        assert height / heights[5] == pytest.approx(change / most, rel=1e-6)


def test_where_spectra_are_at_hand_their_distance_is_drawn_else_their_summary() -> None:
    with_distances, without = draw_for_page(a_diff(), "spectrum"), a_diff(distances=False)
    assert with_distances is not None
    assert with_distances[1].title == "How far the singular values moved"
    summary = draw_for_page(without, "spectrum")
    assert summary is not None
    assert summary[1].title == "Where the singular values changed"
    assert draw_for_page(same_diff(), "score") is None


def test_of_several_experts_the_one_that_changed_most_is_drawn() -> None:
    found = large_diff(kinds=1, layers=3, experts=4)
    (axes,) = draw(found, "score").axes
    path = axes.patches[0].get_path().vertices.reshape(-1, 5, 2)  # type: ignore[union-attr]  # (bars, corners, 2)
    assert len(path) == 3
    tallest = max(found.matrices, key=lambda m: abs(m.score_change or 0.0))
    bar = max(path, key=lambda bar: abs(bar[1, 1] - bar[0, 1]))
    assert round(float(bar[:, 0].mean())) == tallest.layer


def test_a_page_lists_so_many_matrices_and_says_of_how_many() -> None:
    found = large_diff(kinds=2, layers=30, experts=20)
    page = page_of(found)
    assert page.count('<tr><td class="name">') == LISTED_ON_PAGES
    assert "The 1,000 of 1,200 matrices that changed most" in page
    assert len(page) < 400_000


ODD = {
    "outside the blocks": changed(a_diff(), layer=None),
    "far away": changed(a_diff(), layer=10**12),
    "below zero": changed(a_diff(), layer=-3),
    "no numbers": changed(a_diff(), score_change=None, spectrum=None, distance=None),
    "the largest numbers": changed(a_diff(), score_a=1e308, score_b=-1e308, score_change=-2.0),
    "the smallest numbers": changed(a_diff(), score_change=5e-324, distance=5e-324),
    "endless names": changed(a_diff(), kind="k" * 10**6, name="n" * 10**6),
    "no kinds": replace(a_diff(), kinds=(), overlap=None),
    "kinds without number": large_diff(kinds=100, layers=4),
    "nothing": replace(same_diff(), kinds=(), overlap=None, matched=0, identical=0),
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_a_page_and_a_picture_are_made_of_whatever_a_record_holds(name: str) -> None:
    found = ODD[name]
    page = page_of(found)
    assert_page_is_ours(page)
    assert len(page) < 400_000
    if pictures_of(found):
        assert draw(found, *pictures_of(found)).axes


@pytest.mark.parametrize("name", NAMES)
def test_a_strangers_name_is_text_on_the_page_and_in_markdown(name: str) -> None:
    names = [f"model.layers.{i}.mlp.{name}.weight" for i in range(4)]
    sides = [
        finished([matrix(text, salt + i) for i, text in enumerate(names)], name)
        for salt in (0.0, 1.0)
    ]
    found = replace(diff(*sides, given=(name, name)), command=name, asked_kinds=(name,), score=name)
    page = diff_page(found, source=Source(name=name, digest=""))
    assert_page_is_ours(page)
    assert set(re.findall(r"<(\w+)", page)) <= {*re.findall(r"<(\w+)", page_of(a_diff()))}
    assert_markdown_is_text(diff_markdown(diff_view(found)))


@pytest.mark.parametrize("suffix", ["html", "md", "png", "svg"])
def test_a_diff_is_written_by_its_ending(suffix: str, tmp_path: Path, spectrum: Spectrum) -> None:
    record, path = tmp_path / "diff.json", tmp_path / f"diff.{suffix}"
    record.write_text(to_json(a_diff()), "utf-8")
    done = spectrum("report", str(record), "-o", str(path))
    assert done.returncode == 0, done.stderr
    data = path.read_bytes()
    begins = {"html": b"<!doctype html>", "md": b"### Diff", "png": b"\x89PNG", "svg": b"<?xml"}
    assert data.lstrip().startswith(begins[suffix])
    if suffix == "svg":
        texts = ["".join(e.itertext()) for e in ElementTree.parse(path).iter() if e.text]
        assert "mlp.up_proj" in [text.strip() for text in texts]


def test_of_two_that_are_the_same_there_is_no_picture(tmp_path: Path, spectrum: Spectrum) -> None:
    record = tmp_path / "diff.json"
    record.write_text(to_json(same_diff()), "utf-8")
    done = spectrum("report", str(record), "-o", str(tmp_path / "x.png"))
    assert done.returncode == 1
    assert "there is nothing to draw" in done.stderr
    assert "Hint: a diff of models that differ is needed" in done.stderr
    assert not (tmp_path / "x.png").exists()


def test_kinds_without_a_change_take_no_room() -> None:
    before, after = (
        finished([*one_kind([0.1, 0.2, 0.3, 0.4 + salt]), *one_kind([1.0, 2.0], "a.b")], "m")
        for salt in (0.0, 0.1)
    )
    (axes,) = draw(diff(before, after), "score").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mlp.up_proj"]
