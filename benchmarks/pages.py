"""Measure the pages of large scans: writing one, opening it, and every move that it offers."""

import gzip
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from page_scans import SIZES, Size, large_scan
from playwright.sync_api import Browser, Page, sync_playwright
from processes import machine, run_child, summarize

from spectrum_ft.record_files import to_json

BAR_SECONDS = 3.0
"""The longest that a page may take to be written, and to open."""

NEW_FILE = click.Path(dir_okay=False, path_type=Path)
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"]

# Until the frame that shows it is done: what a user waits for.
SHOWN = """
  const shown = () => new Promise(
    done => requestAnimationFrame(() => setTimeout(() => done(performance.now()))));
"""
MOVE = (
    "async ({selector, value}) => {"
    + SHOWN
    + """
  const field = document.querySelector(selector);
  await shown();
  const start = performance.now();
  field.value = value;
  field.dispatchEvent(new Event('input', {bubbles: true}));
  field.dispatchEvent(new Event('change', {bubbles: true}));
  return await shown() - start;
}"""
)
CLICK = (
    "async selector => {"
    + SHOWN
    + """
  const button = document.querySelector(selector);
  await shown();
  const start = performance.now();
  button.click();
  return await shown() - start;
}"""
)
SLIDER = "input[type=range]"
FILTER = "input[data-filters]"
HEADER = "table.sortable th:nth-child(2) button"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the page of one scan takes."""

    name: str
    """Which one it is."""
    matrices: int
    """Matrices in it."""
    record_bytes: int
    """Bytes of the record."""
    page_bytes: int
    """Bytes of the page."""
    gzipped_bytes: int
    """The same as a server would send it."""
    elements: int
    """Elements of the page when it is open."""
    write_seconds: dict[str, float]
    """`spectrum report scan.json -o scan.html`, the whole process."""
    peak_mb: float
    """Its most resident memory."""
    open_seconds: dict[str, float]
    """From the address to the load event and the slider's first move."""
    move_seconds: dict[str, float]
    """One move of the slider, until it is shown."""
    filter_seconds: dict[str, float]
    """One key in the field that filters the table."""
    sort_seconds: dict[str, float]
    """One click on a table's header."""
    script_mb: float
    """Memory of the page's scripts after all that."""


def measure(name: str, size: Size, browser: Browser, folder: Path, rounds: int) -> Finding:
    """What the page of a scan of this `size` takes, each figure over `rounds`."""
    report = large_scan(size)
    record, page_file = folder / f"{name}.json", folder / f"{name}.html"
    record.write_text(to_json(report), "utf-8")
    program = str(Path(sys.executable).with_name("spectrum"))
    command = [program, "report", str(record), "-o", str(page_file), "--force", "-q"]
    costs = [run_child(command)[0] for _ in range(rounds)]
    content = page_file.read_bytes()
    opening, moves, keys, sorts = [], [], [], []
    elements, script_mb = 0, 0.0
    for _ in range(rounds):
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        opening.append(_open(page, page_file))
        moves += [_move(page, SLIDER, str(share)) for share in (5, 50, 100, 30, 75)]
        keys += [_move(page, FILTER, text) for text in ("u", "up", "up_", "up_p", "", "7")]
        _move(page, FILTER, "")
        sorts += [page.evaluate(CLICK, HEADER) / 1000 for _ in range(3)]
        elements = page.locator("*").count()
        script_mb = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        page.close()
    return Finding(
        name=name,
        matrices=len(report.matrices),
        record_bytes=record.stat().st_size,
        page_bytes=len(content),
        gzipped_bytes=len(gzip.compress(content)),
        elements=elements,
        write_seconds=summarize([cost.wall_seconds for cost in costs]),
        peak_mb=max(cost.peak_mb for cost in costs),
        open_seconds=summarize(opening),
        move_seconds=summarize(moves),
        filter_seconds=summarize(keys),
        sort_seconds=summarize(sorts),
        script_mb=script_mb,
    )


def _open(page: Page, file: Path) -> float:
    """Seconds until the page is loaded and has answered a first move of its slider."""
    page.goto(file.resolve().as_uri(), wait_until="load")
    page.evaluate(MOVE, {"selector": SLIDER, "value": "40"})
    milliseconds: float = page.evaluate("performance.now()")
    return milliseconds / 1000


def _move(page: Page, selector: str, value: str) -> float:
    milliseconds: float = page.evaluate(MOVE, {"selector": selector, "value": value})
    return milliseconds / 1000


def show(found: Finding) -> None:
    """Print what one page takes."""
    click.echo(f"\n{found.name}: {found.matrices:,} matrices, {found.elements:,} elements")
    click.echo(
        f"  record {found.record_bytes / 1e6:.1f} MB, page {found.page_bytes / 1e6:.2f} MB, "
        f"gzipped {found.gzipped_bytes / 1e6:.2f} MB, scripts hold {found.script_mb:.0f} MB"
    )
    for label, took in (
        ("written", found.write_seconds),
        ("opened", found.open_seconds),
        ("slider moved", found.move_seconds),
        ("key in filter", found.filter_seconds),
        ("sorted", found.sort_seconds),
    ):
        click.echo(
            f"  {label:<14} {took['median']:7.3f} s   ({took['min']:.3f} to {took['max']:.3f})"
        )


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--record", type=NEW_FILE, help="Keep the figures in this file.")
def main(rounds: int, record: Path | None) -> None:
    """Measure the pages of a 70B model's scan and of a mixture of 28,800 matrices."""
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        raise click.ClickException(f"needs one of {', '.join(PROGRAMS)}")
    facts = machine()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        facts["browser"] = f"Chromium {browser.version}"
        found = [measure(name, size, browser, Path(folder), rounds) for name, size in SIZES.items()]
        browser.close()
    click.echo(f"load at start {facts['load_at_start']} on {facts['cores']} cores")
    for finding in found:
        show(finding)
    if record is not None:
        record.write_text(json.dumps(_record(facts, rounds, found), indent=2) + "\n", "utf-8")
    slow = [f.name for f in found if max(_waits(f)) > BAR_SECONDS]
    click.echo(f"\nbar: written in {BAR_SECONDS} s and opened in {BAR_SECONDS} s")
    if slow:
        raise click.ClickException(f"missed by {', '.join(slow)}")


def _waits(found: Finding) -> tuple[float, float]:
    return found.write_seconds["median"], found.open_seconds["median"]


def _record(facts: dict[str, Any], rounds: int, found: list[Finding]) -> dict[str, Any]:
    return {
        "benchmark": "pages",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": facts,
        "rounds": rounds,
        "pages": [
            {field: getattr(finding, field) for field in Finding.__dataclass_fields__}
            for finding in found
        ],
    }


if __name__ == "__main__":
    main()
