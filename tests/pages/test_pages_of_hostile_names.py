"""A model whose author means harm: its names are text in every report of it."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browser import SCHEMES, Scheme, opened
from hostile import (
    NAMES,
    assert_markdown_is_text,
    assert_page_is_ours,
    assert_plain_text,
    write_hostile,
)
from made_comparisons import a_comparison
from page_records import KINDS, a_forecast, a_run, an_evaluation, scanned, write_run
from program import run_spectrum
from spectrum_ft.diffing.diffing import diff
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.record_files import to_json
from spectrum_ft_cli.main import run

pytestmark = pytest.mark.xdist_group("browser")

PageOf = Callable[[str], Path]

TEXT = "".join(NAMES[:9])
RECORDS = {
    "scan": "scan.json",
    "plan": "plan.yaml",
    "run": "run",
    "evaluation": "evaluation.json",
    "comparison": "comparison.json",
    "diff": "diff.json",
    "forecast": "forecast.json",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of a hostile model, a scan and a plan made by the real commands among them."""
    folder = tmp_path_factory.mktemp("hostile")
    write_hostile(folder / "model")
    for words in (
        ("scan", "model", "-o", "scan.json", "-q"),
        ("plan", "scan.json", "--preset", "hybrid", "-o", "plan.yaml", "-q"),
    ):
        done = run_spectrum(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    write_hostile(folder / "tuned", seed=12)
    report, tuned = scanned(folder / "model"), scanned(folder / "tuned")
    plan = make_plan(report, PlanRequest(preset="hybrid")).plan
    trained = a_run(plan, report)
    hostile_run = replace(
        trained,
        source=TEXT,
        settings=replace(trained.settings, data=TEXT, eval_data=TEXT),
        data=replace(trained.data, source=TEXT, shape=TEXT),
        command=TEXT,
    )
    write_run(folder / "run", hostile_run)
    comparison = a_comparison()
    arms = tuple(replace(arm, name=f"{TEXT}{place}") for place, arm in enumerate(comparison.arms))
    outcomes = tuple(
        replace(outcome, place=TEXT, expected=TEXT, answer=TEXT)
        for outcome in an_evaluation().outcomes
    )
    forecast = a_forecast(report)
    made = {
        "evaluation.json": replace(
            an_evaluation(), source=TEXT, outcomes=outcomes, tasks={TEXT: 0.5}, command=TEXT
        ),
        "comparison.json": replace(
            comparison,
            source=TEXT,
            arms=arms,
            verdicts=(TEXT,),
            differences=(TEXT,),
            command=TEXT,
            contrasts=tuple(
                replace(c, asked=replace(c.asked, question=TEXT, arm=arms[2].name, against=TEXT))
                for c in comparison.contrasts
            ),
        ),
        "diff.json": diff(report, tuned, given=(TEXT, TEXT)),
        "forecast.json": replace(
            forecast,
            model=replace(forecast.model, source=TEXT, revision=TEXT),
            kinds=tuple(replace(kind, kind=TEXT) for kind in forecast.kinds),
            skipped={TEXT: 3},
        ),
    }
    for name, record in made.items():
        (folder / name).write_text(to_json(record), "utf-8")
    return folder


@pytest.fixture(scope="module")
def hostile_page(folder: Path) -> PageOf:
    """The page of the record with this name, made when it is first asked for."""

    def page(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            assert run(["report", str(folder / RECORDS[name]), "-o", str(path), "-q"]) == 0
        return path

    return page


def test_there_is_a_hostile_record_of_every_kind() -> None:
    assert set(RECORDS) == set(KINDS) - {"mixture", "published"}


@pytest.mark.parametrize("name", RECORDS)
def test_a_page_holds_no_element_that_a_stranger_wrote(hostile_page: PageOf, name: str) -> None:
    page = hostile_page(name).read_text("utf-8")
    assert_page_is_ours(page)
    # A template in a name is not carried out: {{7*7}} would be 49.
    assert "{{7*7}}" in page


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", RECORDS)
def test_nothing_of_a_stranger_runs_whatever_the_reader_does(
    browser: Browser, hostile_page: PageOf, name: str, scheme: Scheme
) -> None:
    with opened(browser, hostile_page(name), scheme=scheme) as watched:
        page = watched.page
        scripts = page.locator("script").count()
        page.evaluate(USE_EVERYTHING)
        page.wait_for_timeout(50)
        assert watched.complaints == []
        assert page.locator("img, iframe, object, embed, base, [onerror], [onload]").count() == 0
        assert page.locator("script").count() == scripts
        assert (
            page.evaluate("() => Object.keys(Object.prototype).length + Object.keys({}).length")
            == 0
        )
        assert page.evaluate("() => typeof ({}).constructor") == "function"


USE_EVERYTHING = """() => {
  const told = (element, kind) => element.dispatchEvent(new Event(kind, {bubbles: true}));
  const set = (field, value) => {
    field.value = value;
    told(field, 'input');
    told(field, 'change');
  };
  const all = selector => [...document.querySelectorAll(selector)];
  for (const folded of all('details')) folded.open = true;
  for (const slider of all('input[type=range]')) for (const at of [1, 40, 100]) set(slider, at);
  for (const field of all('input[type=search], input[type=text], input:not([type])'))
    for (const text of ['</script><img src=x>', '{{7*7}}', '__proto__', '']) set(field, text);
  for (const choice of all('select'))
    for (const option of [...choice.options].slice(0, 20)) set(choice, option.value);
  for (const button of all('button')) button.click();
  for (const mark of all('svg rect, svg g')) mark.dispatchEvent(
    new MouseEvent('click', {bubbles: true}));
  for (const row of all('tbody tr')) row.click();
}"""


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_a_terminal_is_told_nothing_but_text(folder: Path, name: str, columns: str) -> None:
    done = run_spectrum("report", RECORDS[name], cwd=folder, env={"COLUMNS": columns})
    assert done.returncode == 0, done.stderr
    assert_plain_text(done.stdout)
    assert_plain_text(done.stderr)
    if columns == "200" and name in {"scan", "plan", "diff"}:
        # Only in whole lines: narrow ones are folded.
        assert "</script><img src=x onerror=alert(1)>" in done.stdout


@pytest.mark.parametrize("name", ["scan", "plan"])
def test_a_terminal_with_colours_is_told_nothing_but_ours(folder: Path, name: str) -> None:
    # rich colours what is no terminal under FORCE_COLOR, and not under NO_COLOR, even if empty.
    env = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "160"}
    done = run_spectrum("report", RECORDS[name], cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    assert_plain_text(re.sub(r"\x1b\[[0-9;]*m", "", done.stdout))
    assert "[red]bold[/red]" in done.stdout


@pytest.mark.parametrize("name", RECORDS)
def test_markdown_of_it_is_text(folder: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.md"
    assert run(["report", str(folder / RECORDS[name]), "-o", str(path), "-q"]) == 0
    assert_markdown_is_text(path.read_text("utf-8"))


def test_the_plan_trains_what_its_names_say_to_the_letter(folder: Path) -> None:
    report = scanned(folder / "model")
    # One of the four matrices of every kind, and each of the hostile kinds is one.
    assert len(make_plan(report).plan.train) == len(NAMES) + 1
    assert {matrix.kind for matrix in report.matrices} == {*NAMES, "mlp.up_proj"}
