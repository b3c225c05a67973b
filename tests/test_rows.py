"""Records as rows and as tables in notebooks: the record's values, the reports' figures."""

import csv
import io
import pickle
import time
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_comparisons import a_comparison
from making import write_llama
from page_records import a_forecast, a_run, an_evaluation, scanned
from spectrum_ft.diffing.diffing import diff
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.record_files import to_json
from spectrum_ft.records.rows import Preview, to_html
from spectrum_ft.records.scans import ScanReport
from spectrum_ft_reports.comparisons.views import comparison_view
from spectrum_ft_reports.diffs.views import diff_view
from spectrum_ft_reports.scans.views import scan_view

TAGS = {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {
    ("class", "tex2jax_ignore mathjax_ignore"),
    ("style", "text-align:left"),
    ("style", "text-align:right"),
}

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<td>",
    "&lt;b&gt;",
    "\x1b[31m",
    "\u202etxt",
    "$\\href{javascript:alert(1)}{x}$",
    "a" * 100_000,
    "[red]",
    "\ud800",
]


class Page(HTMLParser):
    """The tags, attributes and cells of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.title = ""
        self.lines: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        for name, value in attrs:
            assert (name, value) in ATTRIBUTES or (name == "colspan" and str(value).isdecimal())
        self.open.append(tag)
        if tag == "tr":
            self.lines.append([])
        if tag in ("th", "td"):
            self.lines[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] == "strong":
            self.title += data
        else:
            self.lines[-1][-1] += data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ScanReport:
    folder = tmp_path_factory.mktemp("rows")
    write_llama(folder / "model", layers=5)
    return scanned(folder / "model")


@pytest.fixture(scope="module")
def records(report: ScanReport) -> dict[str, Any]:
    """One of each."""
    plan = make_plan(report, PlanRequest(preset="hybrid")).plan
    some = [
        replace(m, digest="0" * 64, scores={**m.scores, "snr": 1.0}) for m in report.matrices[:9]
    ]
    other = replace(report, matrices=(*some, *report.matrices[9:]))
    return {
        "scan": report,
        "plan": plan,
        "run": a_run(plan, report),
        "evaluation": an_evaluation(),
        "comparison": a_comparison(),
        "diff": diff(report, other, given=("a", "b")),
        "forecast": a_forecast(report),
    }


RECORDS = ("scan", "plan", "run", "evaluation", "comparison", "diff", "forecast")


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_the_same_after_a_file_and_after_another_process(
    name: str, records: dict[str, Any]
) -> None:
    record = records[name]
    again = msgspec.json.decode(to_json(record), type=type(record))
    assert again == record
    assert to_json(again) == to_json(record)
    assert pickle.loads(pickle.dumps(record)) == record
    assert not hasattr(record, "__dict__")


@pytest.mark.parametrize("name", RECORDS)
def test_rows_are_flat_and_all_have_the_same_columns(name: str, records: dict[str, Any]) -> None:
    rows = records[name].to_rows()
    assert rows
    for row in rows:
        assert list(row) == list(rows[0])
        assert all(value is None or isinstance(value, str | int | float) for value in row.values())


@pytest.mark.parametrize("name", RECORDS)
def test_rows_make_a_data_frame_and_a_csv_file(name: str, records: dict[str, Any]) -> None:
    pandas: Any = pytest.importorskip("pandas")

    rows = records[name].to_rows()
    frame = pandas.DataFrame(rows)
    assert frame.shape == (len(rows), len(rows[0]))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    assert len(list(csv.reader(io.StringIO(text.getvalue())))) == len(rows) + 1


def test_the_rows_of_a_scan_hold_every_value_of_its_matrices(report: ScanReport) -> None:
    for row, matrix in zip(report.to_rows(), report.matrices, strict=True):
        assert (row["name"], row["kind"], row["layer"]) == (matrix.name, matrix.kind, matrix.layer)
        assert (row["rows"], row["columns"]) == matrix.shape
        assert {k: row[f"scores.{k}"] for k in matrix.scores} == matrix.scores
        assert matrix.spectrum is not None
        assert row["spectrum.q25"] == matrix.spectrum.q25
        assert row["spectrum.count"] == matrix.spectrum.count
        assert (row["edge"], row["signal_rank"]) == (matrix.edge, matrix.signal_rank)
        assert "spectrum.histogram" not in row


def test_an_import_without_spectra_has_the_same_columns_empty(report: ScanReport) -> None:
    bare = replace(
        report.matrices[0], spectrum=None, edge=None, shape=(), scores={"snr": 1.0, "name": 2.0}
    )
    rows = replace(report, matrices=(bare, *report.matrices[1:])).to_rows()
    assert rows[0]["spectrum.max"] is None
    assert rows[0]["rows"] is None
    assert rows[0]["scores.alpha"] is None
    assert (rows[0]["name"], rows[0]["scores.name"]) == (bare.name, 2.0)
    assert list(rows[0]) == list(rows[1])


def test_the_rows_of_other_records_hold_their_values(records: dict[str, Any]) -> None:
    plan, run = records["plan"], records["run"]
    named = [(row["name"], row["treatment"]) for row in plan.to_rows()]
    assert named == [(n, "train") for n in plan.train] + [(n, "lora") for n in plan.adapted]
    (row,) = run.to_rows()
    assert (row["last_loss"], row["settings.lr"]) == (run.last_loss, run.settings.lr)
    assert row["contract.trained"] == run.contract.trained
    for row, arm in zip(records["comparison"].to_rows(), records["comparison"].arms, strict=True):
        assert row["name"] == arm.name
        assert row["accuracy.mean"] == (arm.accuracy and arm.accuracy.mean)
        assert row["peak_memory_bytes"] == arm.peak_memory_bytes
    asked = records["comparison"].contrast_rows()
    assert [row["asked.arm"] for row in asked] == [
        contrast.asked.arm for contrast in records["comparison"].contrasts
    ]
    kinds = records["diff"].kind_rows()
    assert [row["correlation"] for row in kinds] == [k.correlation for k in records["diff"].kinds]
    for row, matrix in zip(records["diff"].to_rows(), records["diff"].matrices, strict=True):
        assert (row["score_a"], row["score_b"]) == (matrix.score_a, matrix.score_b)
        assert row["spectrum.largest"] == (matrix.spectrum and matrix.spectrum.largest)


@pytest.mark.parametrize("name", RECORDS)
def test_a_notebook_shows_a_table_of_text_and_nothing_else(
    name: str, records: dict[str, Any]
) -> None:
    """As IPython does it: the method is looked up on the object, and its string put in the page."""
    record = records[name]
    page = Page(record._repr_html_())
    assert page.title
    assert len({len(line) for line in page.lines} - {1}) == 1
    assert len(page.lines) <= 1 + 5 + 1 + 5
    assert len(record._repr_html_()) < 8_000


def test_the_first_and_the_last_rows_are_shown_and_the_others_counted(report: ScanReport) -> None:
    page = Page(report._repr_html_())
    names = [line[0] for line in page.lines]
    assert names[1:6] == [matrix.name for matrix in report.matrices[:5]]
    assert names[6] == f"{len(report.matrices) - 10} more rows"
    assert names[7:] == [matrix.name for matrix in report.matrices[-5:]]
    few = replace(report, matrices=report.matrices[:7])
    assert [line[0] for line in Page(few._repr_html_()).lines[1:]] == [m.name for m in few.matrices]
    eleven = Page(replace(report, matrices=report.matrices[:11])._repr_html_())
    assert [line[0] for line in eleven.lines].count("1 more row") == 1
    none = Page(replace(report, matrices=())._repr_html_())
    assert len(none.lines) == 1


def test_a_notebook_shows_the_figures_that_reports_print(records: dict[str, Any]) -> None:
    scan = scan_view(records["scan"], None, with_matrices=True).matrices
    in_report = {(row.kind, row.layer): (row.shape, row.score, row.signal) for row in scan}
    kinds = {matrix.name: matrix.kind for matrix in records["scan"].matrices}
    for line in Page(records["scan"]._repr_html_()).lines[1:]:
        if len(line) > 1:
            assert in_report[kinds[line[0]], line[1]] == tuple(line[3:])
    shown = [line for line in Page(records["diff"]._repr_html_()).lines[1:] if len(line) > 1]
    told = {(r.scores, r.change, r.layer) for r in diff_view(records["diff"]).matrices}
    assert {(f"{line[3]} → {line[4]}", line[5], line[1]) for line in shown} <= told
    view = comparison_view(records["comparison"])
    columns = {c.title: [f.text for f in c.figures] for c in view.columns}
    lines = [line for line in Page(records["comparison"]._repr_html_()).lines[1:] if len(line) > 1]
    names = [arm.name for arm in view.arms]
    for arm, _, accuracy, loss, memory, seconds in lines:
        at = names.index(arm)
        told_of = [
            columns[title][at] for title in ("accuracy, %", "held-out loss", "memory", "time")
        ]
        assert [t.replace("–", "-") for t in told_of] == [accuracy, loss, memory, seconds]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_strangers_wrote_stays_text(text: str, records: dict[str, Any]) -> None:
    report = records["scan"]
    odd = replace(report.matrices[0], name=text, kind=text)
    model = replace(report.model, source=text)
    shown = replace(report, model=model, score=text, matrices=(odd, *report.matrices[1:]))
    html = shown._repr_html_()
    page = Page(html)
    cell = page.lines[1][0]
    assert cell.isprintable()
    assert len(cell) <= 600
    assert html.encode("utf-8", "strict")
    if text.isprintable() and len(text) <= 100:
        assert cell == text
    assert repr(shown).isprintable()


@given(st.text(), st.text())
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_text_comes_out_as_one_cell(title: str, cell: str) -> None:
    shown = Preview(title=title, columns=(cell,), number=1, row=lambda _: (cell,))
    page = Page(to_html(shown))
    assert len(page.lines) == 2
    assert page.lines[0] == page.lines[1]


@pytest.mark.parametrize("name", RECORDS)
def test_a_console_shows_a_record_in_a_few_lines(name: str, records: dict[str, Any]) -> None:
    text = repr(records[name])
    assert text.startswith(f"{type(records[name]).__name__}(schema='spectrum-ft/")
    assert len(text) < 4_000
    assert text.isprintable()


def test_a_scan_of_many_matrices_is_shown_at_once(report: ScanReport) -> None:
    many = replace(report, matrices=report.matrices * 823)  # 28,805: a large mixture of experts
    begin = time.perf_counter()
    assert "28,795 more rows" in many._repr_html_()
    assert "matrices=<28,805 items>" in repr(many)
    assert time.perf_counter() - begin < 0.5  # a few milliseconds, on a machine that is not busy
    assert len(many.to_rows()) == 28_805
