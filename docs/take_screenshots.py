"""Pictures of every page and of every terminal report, to be looked at.

    PYTHONPATH=tests python docs/take_screenshots.py FOLDER
    PYTHONPATH=tests python docs/take_screenshots.py FOLDER --readme

Records come from the real commands where they are cheap (the scan of SmolLM2 and what follows from
it), and from the tests' builders where a model would have to be trained for them. FOLDER gets the
records, their pages, each in the light and the dark at 1200 pixels and at 390, and the terminal's
reports as SVG. With --readme the pictures of docs/pictures are taken anew.
"""

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from PIL import Image
from playwright.sync_api import Browser, FloatRect
from rich.console import Console
from rich.text import Text

from browser import NARROW, SCHEMES, WIDE, Scheme, opened, running_browser
from page_records import write_records

PICTURES = Path(__file__).with_name("pictures")
MEASURED = Path(__file__).parents[1] / "benchmarks/results/2026-11-24-banking77/comparison.json"
MODEL = "packaged:smollm2-135m"
PROGRAM = str(Path(sys.executable).with_name("spectrum"))
COLUMNS = 100
"""How wide the terminal is."""

README: tuple[tuple[str, Scheme, str], ...] = (
    ("smollm2", "light", "#spectrum"),
    ("banking77", "dark", "figure"),
)
"""The pages that the README shows, each with its colours and the first part that ends it."""

MARGIN = 12
"""Pixels below that part."""

SHOWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""What the browser waits for: else a picture may hold a piece of the page before."""


def spectrum(*arguments: str, folder: Path) -> None:
    """Run the program in `folder`; raises where it fails."""
    command = [PROGRAM, *arguments, "--force", "-q"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def make_records(folder: Path) -> list[str]:
    """The names of the records that were made in `folder`."""
    made = [path.name for path in write_records(folder).values()]
    spectrum("scan", MODEL, "-o", "smollm2.json", folder=folder)
    spectrum("plan", "smollm2.json", "--top", "25%", "-o", "spectrum-25.yaml", folder=folder)
    spectrum("plan", "smollm2.json", "--vram", "4GiB", "-o", "fitted.yaml", folder=folder)
    spectrum("plan", "smollm2.json", "--preset", "hybrid", "-o", "hybrid.yaml", folder=folder)
    shutil.copy(MEASURED, folder / "banking77.json")  # no README shows figures that were made up
    plans = ("spectrum-25.yaml", "fitted.yaml", "hybrid.yaml")
    return [*made, "smollm2.json", *plans, "banking77.json"]


def make_page(record: str, folder: Path) -> Path:
    """The page of `record`, written beside it."""
    page = folder / f"{Path(record).stem}.html"
    spectrum("report", record, "-o", page.name, folder=folder)
    return page


def photograph(browser: Browser, page: Path, folder: Path) -> Iterator[Path]:
    """The pictures of `page`, taken into `folder` one after the other."""
    for scheme in SCHEMES:
        for width in (WIDE, NARROW):
            picture = folder / f"{page.stem}-{scheme}-{width}.png"
            with opened(browser, page, scheme=scheme, width=width) as watched:
                watched.page.evaluate(SHOWN)
                watched.page.screenshot(path=picture, full_page=True)
                if watched.complaints:
                    click.echo(f"{page.name}: {watched.complaints}", err=True)
            yield picture


def picture_terminal(record: str, folder: Path) -> Path:
    """The terminal's report of `record` as a picture, in its own colours."""
    environment = {name: text for name, text in os.environ.items() if name != "NO_COLOR"}
    environment |= {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    done = subprocess.run(
        [PROGRAM, "report", record],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(done.stdout))
    path = folder / f"{Path(record).stem}-terminal.svg"
    drawn = console.export_svg(title=f"spectrum report {record}")
    # The fonts are to come over the network; without them the machine's own are taken.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL), "utf-8")
    return path


def take_readme_pictures(browser: Browser, folder: Path) -> Iterator[Path]:
    """The pictures that the README shows, one after the other: the upper part of two pages."""
    for name, scheme, last in README:
        picture = PICTURES / f"{name}-page.png"
        with opened(browser, folder / f"{name}.html", scheme=scheme, height=2000) as watched:
            watched.page.evaluate(SHOWN)
            box = watched.page.locator(last).first.bounding_box()
            assert box is not None
            height = box["y"] + box["height"] + MARGIN
            clip: FloatRect = {"x": 0, "y": 0, "width": WIDE, "height": height}
            taken = watched.page.screenshot(clip=clip)
        # Few colours are in it: a palette of them takes a third of the bytes.
        Image.open(io.BytesIO(taken)).convert("RGB").quantize(256).save(picture, optimize=True)
        yield picture


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--readme", is_flag=True, help="Take the pictures of docs/pictures anew.")
def main(folder: Path, readme: bool) -> None:
    """Take pictures of every page and every terminal report into FOLDER."""
    shutil.rmtree(folder, ignore_errors=True)
    records = make_records(folder)
    pages = [make_page(record, folder) for record in records]
    with running_browser() as browser:
        for page in pages:
            for picture in photograph(browser, page, folder):
                click.echo(picture)
        for picture in take_readme_pictures(browser, folder) if readme else ():
            click.echo(picture)
    for record in records:
        click.echo(picture_terminal(record, folder))


if __name__ == "__main__":
    main()
