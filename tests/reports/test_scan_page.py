"""A scan as a page, as Markdown and as a picture."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from hostile import NAMES, assert_markdown_is_text, assert_page_is_ours
from page_text import text_of
from scans import matrix, one_kind, scan_of
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.exploring import explore
from spectrum_ft.planning.making import Planned, make_plan
from spectrum_ft.planning.published import parse_published
from spectrum_ft.records.scans import (
    Flag,
    ScannedMatrix,
    ScanReport,
    SkippedTensor,
    SpectrumSummary,
)
from spectrum_ft_reports.drawing.files import picture_bytes
from spectrum_ft_reports.pages.masthead import Source
from spectrum_ft_reports.scans import spectra
from spectrum_ft_reports.scans.explorer import explorer
from spectrum_ft_reports.scans.heat_map import MOST_KINDS, MOST_LAYERS, heat_map
from spectrum_ft_reports.scans.markdown import scan_markdown
from spectrum_ft_reports.scans.matrix_lines import MOST_LINES
from spectrum_ft_reports.scans.matrix_texts import shared_name
from spectrum_ft_reports.scans.page import scan_page
from spectrum_ft_reports.scans.pictures import draw_scan
from spectrum_ft_reports.scans.units import units_of
from spectrum_ft_reports.scans.views import scan_view
from stacks import stacked_mixture

Approved = Callable[[str, str], str]
SOURCE = Source(name="scan.json", digest="ab" * 32)


def a_spectrum(
    largest: float = 8.0, counts: dict[int, int] | None = None, **changes: Any
) -> SpectrumSummary:
    """A spectrum whose histogram has these counts in these bins."""
    counts = counts or {50: 4, 56: 20, 60: 36, 63: 4}
    spectrum = SpectrumSummary(
        max=largest,
        min=largest / 10,
        q25=largest / 4,
        median=largest / 3,
        q75=largest / 2,
        sum=largest * 20,
        count=sum(counts.values()),
        error=1e-6,
        histogram=tuple(counts.get(i, 0) for i in range(64)),
    )
    return replace(spectrum, **changes)


def measured(given: ScannedMatrix, edge: float | None = 4.0, **changes: Any) -> ScannedMatrix:
    """A matrix with a spectrum, and 40 of 64 values above its edge."""
    return replace(given, spectrum=a_spectrum(**changes), edge=edge, signal_rank=40)


def two_kinds(layers: int = 8) -> ScanReport:
    """Two kinds with spectra, a saturated matrix, a thin one, skips, and a projection outside."""
    up = [measured(m) for m in one_kind([float((3 * i) % layers) for i in range(layers)])]
    q = [measured(m) for m in one_kind([0.5 * i for i in range(layers)], "self_attn.q_proj")]
    up[2] = replace(up[2], scores={"snr": None}, flags=("saturated",))
    thin = matrix("model.layers.0.mlp.router.weight", 0.5, shape=(8, 64), flags=["thin"])
    outside = matrix("projector.linear.weight", 0.25)
    report = scan_of(
        [*up, *q, thin, outside],
        vectors=[f"model.layers.{i}.norm.weight" for i in range(layers)],
        others=["model.embed_tokens.weight"],
    )
    others = {"alpha": 2.0, "condition": None}
    matrices = [
        replace(m, scores=m.scores | others | {"alpha": 2.0 + (5 * i) % 7})
        for i, m in enumerate(report.matrices)
    ]
    unresolved = replace(matrices[0], flags=("unresolved",))
    return replace(
        report, matrices=(unresolved, *matrices[1:]), command="spectrum scan made -o scan.json"
    )


def an_import() -> ScanReport:
    table = {
        f"model.layers.{i}.mlp.up_proj": {"snr": math.inf if i == 2 else 0.5 * i, "type": "up"}
        for i in range(5)
    }
    return parse_published(json.dumps(table).encode(), "snr_results.json")


def planned(report: ScanReport) -> Planned | None:
    try:
        return make_plan(report)
    except PlanError:
        return None


def page_of(report: ScanReport, source: Source = SOURCE) -> str:
    return scan_page(report, planned(report), source=source)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("scan-page", two_kinds),
        ("scan-page-stacked", stacked_mixture),
        ("scan-page-import", an_import),
        ("scan-page-unplanned", lambda: scan_of(one_kind([1.0, 2.0]))),
    ],
)
def test_the_page_of_a_scan_reads_as_it_was_approved(
    name: str, make: Callable[[], ScanReport], approved: Approved
) -> None:
    text = text_of(page_of(make()))
    assert text == approved(name, text)


@pytest.mark.parametrize("make", [two_kinds, stacked_mixture, an_import])
def test_what_is_lit_without_a_script_is_the_default_plan(make: Callable[[], ScanReport]) -> None:
    report = make()
    page, units = page_of(report), units_of(report)
    lit = {int(u) for u in re.findall(r'class="cell on[^"]*" data-unit="(\d+)"', page)}
    names = {m.name for unit in lit for m in units[unit].matrices}
    assert names == set(make_plan(report).plan.train)
    rows = re.findall(r'<tr data-unit="(\d+)" data-member="\d+"( class="on")?>', page)
    assert {int(unit) for unit, on in rows if on} == lit


def test_the_data_of_a_page_is_what_the_library_explored() -> None:
    report = two_kinds()
    data, units = data_of(page_of(report)), units_of(report)
    assert [choice["score"] for choice in data["choices"]] == ["snr", "alpha"]
    for choice in data["choices"]:
        found = explore(report, choice["score"])
        expected = [found.percentages.get(unit.matrices[0].name) for unit in units]
        assert choice["percents"] == expected
        assert len(data["said"][choice["said"]]) == 100
    assert data["before"] + "25%" + data["choices"][1]["option"] + data["after"] == (
        "spectrum plan scan.json --top 25% --score alpha -o plan.yaml"
    )
    for unit, (_, before, after, rests, matrices) in zip(units, data["units"], strict=True):
        assert [before + rest + after for rest in rests] == [m.name for m in unit.matrices]
        for member, packed in zip(unit.matrices, matrices, strict=True):
            *facts, drawn = packed.split("|")
            assert len(facts) == len(data["facts"])
            texts = [data["texts"][int(f[1:])] if f[:1] == "#" else f for f in facts]
            assert texts[0] == " x ".join(map(str, member.shape))
            assert texts[-1] == (" ".join(member.flags) or "none")
            if member.spectrum is None:
                assert drawn == ""
                continue
            first, *counts = map(int, drawn.split(":")[1].split(","))
            whole = [0] * first + counts + [0] * (64 - first - len(counts))
            assert tuple(whole) == member.spectrum.histogram


def test_figures_are_those_of_the_terminals_view() -> None:
    report = two_kinds()
    view = scan_view(report, make_plan(report), with_matrices=True)
    cells = set(re.findall(r"<td[^>]*>([^<]*)", page_of(report)))
    for row in view.rows:
        assert {row.kind, row.median, row.train, row.params, row.layers} <= cells
    for line in view.matrices:
        assert {line.layer, line.shape, line.score, line.signal} <= cells


def test_the_histogram_splits_the_edges_bar_and_scales_by_roots() -> None:
    given = measured(one_kind([1.0])[0], edge=8.0 * 10 ** (-3.5 / 16), counts={60: 9, 62: 36})
    drawn = spectra.histogram(given)
    # The edge lies 3.5 bins below the largest value: in the middle of bin 60.
    assert drawn.noise == "M60.06 100V50H60.5V100Z"
    assert drawn.signal == "M60.5 100V50H60.94V100ZM62.06 100V0H62.94V100Z"
    assert drawn.view == "48 0 18 100"
    assert [mark.text for mark in drawn.lines] == ["edge 4.83", "median 2.67", "max 8.00"]
    at = {mark.text: mark.at for mark in drawn.values}
    # 18 bins from 48 on; 2 lies log10(4) decades of 16 bins below 8. Rounded to two digits.
    assert at["2"] == pytest.approx(100 * (64 - 16 * math.log10(4) - 48) / 18, abs=0.01)
    assert [mark.text for mark in drawn.counts] == ["20", "10", "2"]  # 18 apart at least


@pytest.mark.parametrize("edge", [None, 0.0, -1.0, 1e-9])
def test_an_edge_below_the_axis_leaves_no_noise(edge: float | None) -> None:
    drawn = spectra.histogram(measured(one_kind([1.0])[0], edge=edge))
    assert drawn.noise == ""
    assert [mark.text.split()[0] for mark in drawn.lines] == ["median", "max"]
    noise, above = spectra.line(measured(one_kind([1.0])[0], edge=edge))
    assert (noise, len(above)) == ("", 16)


def test_an_edge_above_the_largest_value_stays_in_the_picture() -> None:
    drawn = spectra.histogram(measured(one_kind([1.0])[0], edge=11.0))
    assert drawn.signal == ""
    assert drawn.lines[0].text == "edge 11.0"
    assert 85 < drawn.lines[0].at < 100


@pytest.mark.parametrize(
    "changes",
    [
        {"histogram": (1, 2, 3)},
        {"histogram": (0,) * 64},
        {"histogram": (-1, *(1,) * 63)},
        {"histogram": ()},
        {"largest": 1e-320},
        {"max": 0.0},
        {"max": -1.0},
        {"median": 0.0},
        {"median": 1e300},
    ],
)
def test_an_edited_spectrum_does_no_harm(changes: dict[str, Any]) -> None:
    report = scan_of([measured(m, **changes) for m in one_kind([1.0, 2.0, 3.0, 4.0])])
    assert_page_is_ours(page_of(report))


def test_matrices_that_share_a_place_have_a_cell_each() -> None:
    names = [f"model.layers.{i}.mixer.{p}" for i in range(4) for p in ("weight", "gamma")]
    report = scan_of([matrix(name, float(i)) for i, name in enumerate(names)])
    units = units_of(report)
    drawn = heat_map(units, explorer(report, units, "scan.json").first)
    assert drawn is not None
    assert len(drawn.cells) == 8
    spans = sorted((cell.y, cell.x, cell.x + cell.width) for cell in drawn.cells)
    assert all(a[2] <= b[1] for a, b in pairwise(spans) if a[0] == b[0])


def test_strange_layers_and_very_many_kinds_are_cut_and_counted() -> None:
    far = one_kind([1.0, 2.0, 3.0, 4.0])
    far.append(matrix("model.layers.999999999.mlp.up_proj.weight", 5.0))
    assert_page_is_ours(page_of(scan_of(far)))
    many = [m for k in range(MOST_KINDS + 3) for m in one_kind([1.0, 2.0], f"mlp.k{k}")]
    deep = one_kind([float(i) for i in range(MOST_LAYERS + 5)])
    text = text_of(page_of(scan_of(many + deep)))
    assert "No room here for 5 layers and 4 kinds more." in text


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (scan_of([], vectors=["model.norm.weight"]), "No plan can be made"),
        (scan_of([matrix("dense.weight", 1.0)]), "no matrix is left to choose from"),
        (scan_of(one_kind([1.0])), "no kind has 4 matrices"),
        (scan_of([replace(m, scores={}) for m in one_kind([1.0] * 4)]), "has no snr in this scan"),
        (replace(two_kinds(), score="odd"), "plan scan.json --top 25% --score snr"),
        (scan_of(one_kind([None] * 5)), "No plan can be made"),
    ],
)
def test_whatever_was_scored_there_is_a_page(report: ScanReport, words: str) -> None:
    page = page_of(report)
    assert_page_is_ours(page)
    assert words in text_of(page)
    assert scan_markdown(report, planned(report), name="scan.json").startswith("### ")


def test_what_weakens_scores_is_said_at_the_top() -> None:
    flags: list[tuple[Flag, ...]] = [("saturated",), (), (), ()]
    matrices = [
        replace(m, dtype="Q4_1", flags=f)
        for m, f in zip(one_kind([None, 1.0, 2.0, 3.0]), flags, strict=True)
    ]
    text = text_of(page_of(scan_of(matrices)))
    assert "1 of 4 matrices is saturated" in text
    assert "4 matrices are stored in few bits (Q4_1)" in text
    assert "shapes, spectra and the number of weights are not known" in text_of(
        page_of(an_import())
    )
    assert "No plan can rank by condition" in text_of(page_of(two_kinds()))


def test_skipped_tensors_are_grouped_and_what_is_not_listed_is_counted() -> None:
    report = two_kinds()
    many = tuple(
        SkippedTensor(name=f"model.layers.{i}.bias", shape=(4,), reason="vector")
        for i in range(2_000)
    )
    page = page_of(replace(report, skipped=(*many, *report.skipped)))
    assert "<summary>2,008 tensors: vector</summary>" in page
    assert "1,948 more are in the record." in page
    assert page.count("<details>") == 2


def hostile_scan() -> ScanReport:
    return replace(
        scan_of(
            [
                measured(matrix(f"model.layers.{i}.{name}.weight", float(i)))
                for i in range(4)
                for name in NAMES
            ],
            vectors=[f"{name}.bias" for name in NAMES],
        ),
        command=f"spectrum scan {NAMES[0]}",
    )


def test_hostile_names_stay_text() -> None:
    report = hostile_scan()
    source = Source(name=f"-{NAMES[0]} $(id)\x1b.json", digest="")
    page = page_of(report, source)
    assert_page_is_ours(page)
    assert len(re.findall(r"<script", page)) == 5  # four of ours and the data
    assert "spectrum plan $&#39;./-" in page  # quoted for a shell, and no option
    assert_markdown_is_text(scan_markdown(report, planned(report), name=source.name))
    figure = draw_scan(report, name=source.name)
    assert figure is not None
    ElementTree.fromstring(picture_bytes(figure, ".svg"))


def test_a_scan_from_standard_input_has_a_command_that_names_a_file() -> None:
    page = page_of(two_kinds(), Source(name="-", digest=""))
    assert "spectrum plan scan.json --top 25% -o plan.yaml" in page


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.0.w1", "a.1.w1"], ("a.", ".w1", ["0", "1"])),
        (["a.0.w1", "a.0.w3", "a.10.w1"], ("a.", "", ["0.w1", "0.w3", "10.w1"])),
        (["a.x[0]", "a.x[1]"], ("a.", "", ["x[0]", "x[1]"])),
        (["a.b.c"], ("a.b.", "", ["c"])),
        (["a", "b"], ("", "", ["a", "b"])),
        (["a.a", "a.a.a"], ("a.", "", ["a", "a.a"])),
    ],
)
def test_names_are_shared_at_dots(names: list[str], expected: tuple[str, str, list[str]]) -> None:
    before, after, rests = shared_name(names)
    assert (before, after, rests) == expected
    assert [before + rest + after for rest in rests] == names


def test_very_many_experts_share_lines_and_the_page_stays_small() -> None:
    matrices = [
        measured(matrix(f"model.layers.{i}.mlp.experts.{e}.{part}.weight", float(i + e)))
        for i in range(4)
        for e in range(MOST_LINES // 8)
        for part in ("gate_proj", "up_proj", "down_proj")
    ]
    page = page_of(scan_of(matrices))
    assert page.count("<tr data-unit") == 8
    assert "and 499 others" in page
    # 3,000 matrices, about 110 bytes each.
    assert len(page) < 450_000


def test_a_scan_of_seven_billion_weights_is_a_page_of_less_than_300_kilobytes() -> None:
    kinds = (
        "mlp.down_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        *(f"self_attn.{p}_proj" for p in "kqvo"),
    )
    counts = {i: 10 + 7 * i for i in range(40, 64)}
    others = {"snr_mp": 0.123, "alpha": 2.34, "stable_rank": 45.6, "effective_rank": 789.0}
    matrices = [
        measured(
            matrix(f"model.layers.{i}.{kind}.weight", 0.01 * i, shape=(4096, 14336), others=others),
            counts=counts,
        )
        for i in range(32)
        for kind in kinds
    ]
    assert len(page_of(scan_of(matrices))) < 300_000


def test_markdown_has_the_table_and_the_commands() -> None:
    report = two_kinds()
    text = scan_markdown(report, make_plan(report), name="scan.json")
    assert "| mlp.up\\_proj | 3.00 | 2/8 |" in text
    assert text.endswith(
        "```sh\nspectrum scan made -o scan.json\n"
        "spectrum plan scan.json --top 25% -o plan.yaml\n```\n"
    )


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize(
    "report", [two_kinds(), stacked_mixture(), an_import(), scan_of(one_kind([1.0]))]
)
def test_a_picture_is_the_same_each_time(report: ScanReport, suffix: str) -> None:
    figures = [draw_scan(report, name="scan.json") for _ in "ab"]
    first, second = (picture_bytes(figure, suffix) for figure in figures if figure is not None)
    assert first == second


def test_a_scan_without_layers_has_no_picture() -> None:
    assert draw_scan(scan_of([matrix("dense.weight", 1.0)]), name="scan.json") is None


@pytest.mark.parametrize("huge", [1e308, -1e308, 1.7e308])
def test_the_largest_floats_are_scores_that_can_be_drawn(huge: float) -> None:
    experts = [
        matrix(f"model.layers.{i}.mlp.experts.{e}.w2.weight", huge) for i in range(4) for e in "01"
    ]
    report = scan_of([*one_kind([huge, -huge, 1.0, huge, huge]), *experts])
    page = page_of(report)
    assert_page_is_ours(page)
    assert "inf" not in re.findall(r"<td[^>]*>([^<]*)", page)
    data = data_of(page)["choices"][0]
    assert [data["heights"][0], data["heights"][1]] == ([100, 0] if huge > 0 else [0, 100])
    assert data["heights"][2] == 50
    assert scan_markdown(report, planned(report), name="scan.json").startswith("### ")
    figure = draw_scan(report, name="scan.json")
    assert figure is not None
    assert picture_bytes(figure, ".svg")


def lacking_its_own() -> ScanReport:
    """A scan by `condition`, which one matrix lacks."""
    matrices = [
        replace(
            m,
            scores=m.scores | {"condition": None if i == 5 else 20.0 + i},
            flags=("unresolved",) if i == 5 else (),
        )
        for i, m in enumerate(one_kind([float((3 * i) % 8) for i in range(8)]))
    ]
    return replace(scan_of(matrices), score="condition")


def test_where_the_scans_own_score_ranks_no_plan_all_is_by_one_that_does() -> None:
    report = lacking_its_own()
    assert planned(report) is None
    caution = (
        "No plan can rank by condition, the score of this scan: model.layers.5.mlp.up_proj.weight "
        "has no condition in this scan. What is shown is by snr."
    )
    by_snr = make_plan(replace(report, score="snr"))
    (row,) = scan_view(report, by_snr).rows
    assert (row.median, row.train) == ("3.50", "2/8")
    page = page_of(report)
    text = text_of(page)
    assert caution in text
    assert "No plan can rank by condition: not every" not in text
    assert "The best 25 % of each kind by snr" in text
    assert "kind | snr, median | trains at 25 %" in text
    assert f"mlp.up_proj | 3.50 | 2/8 | 32.8 k | {row.layers}" in text
    assert "plan scan.json --top 25% --score snr" in text
    told = scan_markdown(report, None, name="scan.json")
    assert "| kind | median snr | trains at 25 % |" in told
    assert f"| mlp.up\\_proj | 3.50 | 2/8 | 32.8 k | {row.layers} |" in told
    assert "No plan can rank by condition, the score of this scan" in told


def test_a_mixtures_cell_has_the_value_that_ranks() -> None:
    values = [[0.5, 1.5], [0.25, math.inf], [3.0, 4.0], [0.5, 0.75]]
    table = {
        f"model.layers.{i}.mlp.experts.{e}.w2": {"snr": value, "type": "w2"}
        for i, row in enumerate(values)
        for e, value in enumerate(row)
    }
    report = parse_published(json.dumps(table).encode(), "snr_results.json")
    page = page_of(report)
    choice = data_of(page)["choices"][0]
    assert choice["values"] == ["1.00", "-", "3.50", "0.625"]
    assert choice["heights"][1:3] == [100, 100]
    assert choice["percents"][1] == min(choice["percents"])
    titles = re.findall(r"<rect[^>]*><title>([^<]*)</title>", page)
    assert "layer 1, mean of 2 matrices\nno finite snr, from 1 %" in titles[1]
    (row,) = scan_view(report, make_plan(report)).rows
    assert row.cells[1].height == 1.0


@pytest.mark.parametrize("score", NAMES)
def test_the_name_of_a_score_stays_text(score: str) -> None:
    # Kinds of two, so that no plan can be made and nothing but this score is shown.
    plain = [replace(m, scores={score: 1.0 + i}) for i, m in enumerate(one_kind([1.0, 2.0]))]
    for matrices in (
        plain,
        [replace(m, scores={score: 1.0, "snr": 1.0}) for m in one_kind([1.0] * 4)],
    ):
        report = replace(scan_of(matrices), score=score)
        page = page_of(report)
        assert_page_is_ours(page)
        told = scan_markdown(report, planned(report), name="scan.json")
        assert_markdown_is_text(told)
        assert told.isprintable() or set(told) - {"\n"} == set(filter(str.isprintable, told))


def test_the_histogram_claims_no_more_than_the_edge_does() -> None:
    text = text_of(page_of(two_kinds()))
    assert "up to the edge: counted as noise" in text
    assert "above it: counted as signal" in text
    assert "of pure Gaussian noise, 24 % (400 x 400) to 100 % (300 x 1200)" in text


@pytest.mark.parametrize("make", [two_kinds, stacked_mixture, an_import, lacking_its_own])
def test_what_cannot_be_asked_is_given_the_first_choice_alone(
    make: Callable[[], ScanReport],
) -> None:
    report = make()
    units = units_of(report)
    whole, brief = (
        explorer(report, units, "scan.json", only_first=only_first) for only_first in (False, True)
    )
    assert brief == replace(whole, choices=whole.choices[:1])
