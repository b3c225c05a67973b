"""The selection explorer of a scan's page: what lights up is what the real command would train."""

import math
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser import opened
from conftest import packaged_or_skip
from making import write_llama
from page_records import scanned, write_mixture
from program import run_spectrum
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.plan_files import parse_plan
from spectrum_ft.record_files import to_json
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.scan_files import read_scan
from spectrum_ft.spectra.scores import SCORES
from spectrum_ft_cli.main import run
from stacks import stacked_mixture

pytestmark = pytest.mark.xdist_group("browser")

SHARES = range(5, 101, 5)
MODELS = ("llama", "mixture", "stacked", "smollm2")

LIT = """() => [...document.querySelectorAll('.cell.on')].map(cell => Number(cell.dataset.unit))"""
DATA = "() => JSON.parse(document.getElementById('data').textContent)"

ScanOf = Callable[[str], Path]


@pytest.fixture(scope="module")
def scan_of(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> ScanOf:
    """The scan of the model with this name, with its page beside it, made when first asked for."""
    folder = tmp_path_factory.mktemp("explored")

    def reported(name: str) -> ScanReport:
        if name == "smollm2":
            return scanned(packaged_or_skip("smollm2-135m", model_cache))
        if name == "stacked":
            return stacked_mixture(layers=9)
        write = write_mixture if name == "mixture" else write_llama
        write(folder / "model" / name, layers=7)
        return scanned(folder / "model" / name)

    def scan(name: str) -> Path:
        path = folder / f"{name} 1.json"
        if not path.exists():
            path.write_text(to_json(reported(name)), "utf-8")
            page = path.with_suffix(".html")
            assert run(["report", str(path), "-o", str(page), "-q"]) == 0
        return path

    return scan


@contextmanager
def exploring(browser: Browser, scan: Path) -> Iterator[Page]:
    """The page of `scan`, open."""
    with opened(browser, scan.with_suffix(".html"), clipboard=True) as watched:
        yield watched.page
        assert watched.complaints == []


def tensors_of_units(page: Page, report: ScanReport) -> list[set[str]]:
    """The tensors of each unit on the page, all of them tensors of the scan."""
    shown = [
        {f"{before}{name}{after}" for name in names}
        for _, before, after, names, _ in page.evaluate(DATA)["units"]
    ]
    # A slice of a tensor of experts is told by its place.
    units = [{re.sub(r"\[\d+\]$", "", name) for name in names} for names in shown]
    assert set().union(*units) == {matrix.name for matrix in report.matrices}
    assert sum(map(len, shown)) == len(report.matrices)
    return units


def lit_tensors(page: Page, units: list[set[str]]) -> set[str]:
    """The tensors of the cells that are lit."""
    return set().union(*(units[unit] for unit in page.evaluate(LIT)))


def planned(report: ScanReport, share: int, score: str) -> set[str]:
    """What a plan for `share` per cent trains."""
    return set(make_plan(report, PlanRequest(share=share / 100, score=score)).plan.train)


def plannable(report: ScanReport) -> list[str]:
    """The scores that a plan can be made with, the scan's own first."""
    found = []
    for score in sorted(SCORES, key=lambda score: score != report.score):
        with suppress(PlanError):
            planned(report, 25, score)
            found.append(score)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_lit_cells_are_what_the_plan_trains_for_every_share_and_score(
    browser: Browser, scan_of: ScanOf, name: str
) -> None:
    report = read_scan(str(scan_of(name)))
    with exploring(browser, scan_of(name)) as page:
        units = tensors_of_units(page, report)
        offered = page.locator("#score option").all_inner_texts()
        assert offered == plannable(report)
        for place, score in enumerate(offered):
            page.select_option("#score", str(place))
            for share in SHARES:
                page.fill("#share", str(share))
                assert lit_tensors(page, units) == planned(report, share, score), (share, score)


@pytest.mark.parametrize("name", MODELS)
def test_the_command_shown_runs_and_makes_the_plan_that_is_lit(
    browser: Browser, scan_of: ScanOf, tmp_path: Path, name: str
) -> None:
    scan = scan_of(name)
    report = read_scan(str(scan))
    with exploring(browser, scan) as page:
        units = tensors_of_units(page, report)
        other = page.locator("#score option").count() - 1
        for number, (share, score) in enumerate(((35, 0), (80, other))):
            page.select_option("#score", str(score))
            page.fill("#share", str(share))
            button = page.locator("#command button.copy")
            expect(button).to_have_text("Copy")
            button.click()
            expect(button).to_have_text("Copied")
            command = page.evaluate("() => navigator.clipboard.readText()")
            assert command == page.inner_text("#command code")
            program, *words = shlex.split(command)
            assert program == "spectrum"
            folder = tmp_path / str(number)
            folder.mkdir()
            done = run_spectrum(*words, "-q", cwd=folder)
            assert done.returncode == 0, done.stderr
            plan = parse_plan((folder / "plan.yaml").read_bytes(), "plan.yaml")
            assert set(plan.train) == lit_tensors(page, units)
            # And so the library's call is the command's: the other shares can rest on it.
            name_of_score = page.locator("#score option").nth(score).inner_text()
            assert set(plan.train) == planned(report, share, name_of_score)


def test_the_page_shows_the_default_plan_first_with_scripts_and_without(
    browser: Browser, scan_of: ScanOf
) -> None:
    report = read_scan(str(scan_of("llama")))
    for scripts in (True, False):
        page_file = scan_of("llama").with_suffix(".html")
        with opened(browser, page_file, scripts=scripts) as watched:
            units = tensors_of_units(watched.page, report)
            assert lit_tensors(watched.page, units) == planned(report, 25, "snr")
            assert "--top 25% -o plan.yaml" in watched.page.inner_text("#command code")


def test_the_slider_obeys_the_keyboard(browser: Browser, scan_of: ScanOf) -> None:
    report = read_scan(str(scan_of("llama")))
    with exploring(browser, scan_of("llama")) as page:
        units = tensors_of_units(page, report)
        page.focus("#share")
        page.keyboard.press("Home")
        smallest = int(page.input_value("#share"))
        assert lit_tensors(page, units) == planned(report, smallest, "snr")
        for _ in range(14):
            page.keyboard.press("ArrowRight")
        share = int(page.input_value("#share"))
        assert share == 15
        assert lit_tensors(page, units) == planned(report, 15, "snr")
        page.keyboard.press("End")
        assert lit_tensors(page, units) == planned(report, 100, "snr")
        assert page.get_attribute("#share", "aria-valuetext") == "100 %"


def test_the_table_and_the_words_follow_the_slider(browser: Browser, scan_of: ScanOf) -> None:
    report = read_scan(str(scan_of("llama")))
    with exploring(browser, scan_of("llama")) as page:
        units = tensors_of_units(page, report)
        for share in (10, 60):
            page.fill("#share", str(share))
            trained = planned(report, share, "snr")
            marked = page.locator("#matrices tr", has=page.locator("td.trains:text-is('yes')"))
            rows = marked.evaluate_all("rows => rows.map(row => Number(row.dataset.unit))")
            assert set().union(*(units[unit] for unit in rows)) == trained
            counts = make_plan(report, PlanRequest(share=share / 100)).plan.counts
            assert counts is not None
            said = page.inner_text("#said")
            assert f"{len(trained)} tensors" in said
            # 0.05: the share is printed with one decimal.
            percent = re.search(r"([\d.]+) %", said)
            assert percent is not None
            assert abs(float(percent[1]) - 100 * counts.train / counts.total) <= 0.0501


def test_colours_follow_the_chosen_score(browser: Browser, scan_of: ScanOf) -> None:
    report = read_scan(str(scan_of("llama")))
    by_name = {matrix.name: matrix for matrix in report.matrices}
    with exploring(browser, scan_of("llama")) as page:
        units = tensors_of_units(page, report)
        for place, score in enumerate(page.locator("#score option").all_inner_texts()):
            page.select_option("#score", str(place))
            heights: dict[str, list[tuple[float, float]]] = {}
            for unit, height in page.evaluate(HEIGHTS):
                (name,) = units[unit]
                value = by_name[name].scores[score]
                assert value is not None
                heights.setdefault(by_name[name].kind, []).append((value, float(height)))
            for cells in heights.values():
                # Within a kind the highest score is the strongest colour, and order is kept.
                ordered = [height for _, height in sorted(cells)]
                assert ordered == sorted(ordered), score
                assert (ordered[0], ordered[-1]) == (0.0, 100.0)


HEIGHTS = """() => [...document.querySelectorAll('.cell')].map(
  cell => [Number(cell.dataset.unit), parseFloat(cell.style.getPropertyValue('--v'))])"""


def test_the_spectrum_of_any_matrix_is_a_click_away(browser: Browser, scan_of: ScanOf) -> None:
    report = read_scan(str(scan_of("llama")))
    by_name = {matrix.name: matrix for matrix in report.matrices}
    with exploring(browser, scan_of("llama")) as page:
        units = tensors_of_units(page, report)
        for place in (0, 11, 40):
            cell = page.locator(".cell").nth(place)
            cell.click()
            (name,) = units[int(cell.get_attribute("data-unit") or -1)]
            assert page.inner_text("#spectrum-name") == name
            spectrum, facts = by_name[name].spectrum, page.inner_text("#spectrum-facts")
            assert spectrum is not None
            assert f"{by_name[name].signal_rank}/{spectrum.count}" in facts
            assert f"{spectrum.max:#.3g}" in facts
            assert f"{by_name[name].edge:#.3g}" in facts
            assert page.locator("#drawing path").count() == 2
        page.locator("#matrices tbody tr", has_text="layers.3.mlp.up_proj").locator(
            "button"
        ).click()
        assert page.inner_text("#spectrum-name") == "model.layers.3.mlp.up_proj.weight"


def test_an_expert_is_chosen_by_its_name(browser: Browser, scan_of: ScanOf) -> None:
    with exploring(browser, scan_of("mixture")) as page:
        page.locator(".cell").first.click()
        names = page.locator("#member option").all_inner_texts()
        assert len(names) in {4, 8}  # gate_proj and up_proj fuse on load: one unit
        page.select_option("#member", "3")
        assert names[3] in page.inner_text("#spectrum-name")


def test_without_a_plan_there_is_nothing_to_explore(browser: Browser, tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=2)  # no kind has the four members that a share needs
    report = scanned(tmp_path / "model")
    path = tmp_path / "scan.json"
    path.write_text(to_json(report), "utf-8")
    assert run(["report", str(path), "-o", str(path.with_suffix(".html")), "-q"]) == 0
    with exploring(browser, path) as page:
        assert page.locator("#share").count() == 0
        assert page.locator(".cell.on").count() == 0
        assert "No plan can be made" in page.inner_text("#selection")


def test_the_embedded_data_are_the_records(browser: Browser, scan_of: ScanOf) -> None:
    report = read_scan(str(scan_of("llama")))
    by_name = {matrix.name: matrix for matrix in report.matrices}
    with exploring(browser, scan_of("llama")) as page:
        data = page.evaluate(DATA)
        units = tensors_of_units(page, report)
        for choice in data["choices"]:
            for unit, text in zip(units, choice["values"], strict=True):
                (name,) = unit
                value = by_name[name].scores[choice["score"]]
                assert text == ("-" if value is None else three_digits(value))
            for share in (1, 5, 37, 100):
                lit = {
                    name
                    for unit, percent in zip(units, choice["percents"], strict=True)
                    for name in unit
                    if percent is not None and percent <= share
                }
                assert lit == planned(report, share, choice["score"])


def three_digits(value: float) -> str:
    """A score as reports print it, made anew: three significant digits."""
    if abs(value) >= 1000 or abs(value) < 0.001:
        return f"{value:.3g}"
    decimals = 2 - math.floor(math.log10(abs(value)))
    text = f"{value:.{max(decimals, 0)}f}"
    # 9.996 rounds up to another power of ten: three digits are then one decimal fewer.
    return text if len(text.replace(".", "").lstrip("0")) <= 3 else f"{value:#.3g}"
