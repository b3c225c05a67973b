"""Pictures of every page and of every terminal report, to be looked at.

    PYTHONPATH=tests python docs/take_screenshots.py FOLDER
    PYTHONPATH=tests python docs/take_screenshots.py FOLDER --readme

Records come from the real commands where they are cheap (the scan of SmolLM2 and what follows from
it), and from the tests' builders where a model would have to be trained for them. FOLDER gets the
records, their pages, each in the light and the dark at 1200 pixels and at 390, and the terminal's
reports as SVG. With --readme the pictures of docs/pictures are taken anew.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from playwright.sync_api import Browser, Page

from browser import NARROW, SCHEMES, WIDE, opened, running_browser
from page_records import write_records

PICTURES = Path(__file__).with_name("pictures")
MODEL = "packaged:smollm2-135m"
PROGRAM = str(Path(sys.executable).with_name("spectrum"))
TERMINAL_COLUMNS = 100


def spectrum(*arguments: str, folder: Path) -> None:
    """Run the program in `folder`; raises where it fails."""
    subprocess.run([PROGRAM, *arguments, "--force", "-q"], cwd=folder, check=True)


def make_records(folder: Path) -> list[str]:
    """The names of the records that were made in `folder`."""
    made = [path.name for path in write_records(folder).values()]
    spectrum("scan", MODEL, "-o", "smollm2.json", folder=folder)
    spectrum("plan", "smollm2.json", "--top", "25%", "-o", "smollm2-plan.yaml", folder=folder)
    hybrid = ("--preset", "hybrid", "--vram", "3GiB", "-o", "smollm2-hybrid.yaml")
    spectrum("plan", "smollm2.json", *hybrid, folder=folder)
    return [*made, "smollm2.json", "smollm2-plan.yaml", "smollm2-hybrid.yaml"]


def make_page(record: str, folder: Path) -> Path:
    """The page of `record`, written beside it."""
    page = folder / f"{Path(record).stem}.html"
    of_scan = ("--scan", "smollm2.json") if record.endswith(".yaml") and "smoll" in record else ()
    spectrum("report", record, *of_scan, "-o", page.name, folder=folder)
    return page


def photograph(browser: Browser, page: Path, folder: Path) -> Iterator[Path]:
    """The pictures of `page`, taken into `folder` one after the other."""
    for scheme in SCHEMES:
        for width in (WIDE, NARROW):
            picture = folder / f"{page.stem}-{scheme}-{width}.png"
            with opened(browser, page, scheme=scheme, width=width) as watched:
                watched.page.screenshot(path=picture, full_page=True)
                if watched.complaints:
                    click.echo(f"{page.name}: {watched.complaints}", err=True)
            yield picture


def picture_terminal(record: str, folder: Path) -> Path:
    """The terminal's report of `record` as a picture, in its own colours."""
    from rich.console import Console
    from rich.text import Text

    done = subprocess.run(
        [PROGRAM, "report", record],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env={"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(TERMINAL_COLUMNS)},
    )
    console = Console(record=True, width=TERMINAL_COLUMNS, file=open("/dev/null", "w"))
    console.print(Text.from_ansi(done.stdout))
    path = folder / f"{Path(record).stem}-terminal.svg"
    console.save_svg(str(path), title=f"spectrum report {record}")
    return path


def top_of(page: Page, picture: Path, height: int) -> None:
    """The uppermost `height` pixels of `page`, as a picture."""
    page.screenshot(path=picture, clip={"x": 0, "y": 0, "width": WIDE, "height": height})


def take_readme_pictures(browser: Browser, folder: Path) -> None:
    """The pictures that the README shows."""
    shots = (("smollm2", "light", "scan.png"), ("comparison", "dark", "comparison.png"))
    for name, scheme, picture in shots:
        with opened(browser, folder / f"{name}.html", scheme=scheme, height=2000) as watched:  # type: ignore[arg-type]
            top_of(watched.page, PICTURES / picture, 1100)


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
        if readme:
            take_readme_pictures(browser, folder)
    for record in records:
        click.echo(picture_terminal(record, folder))


if __name__ == "__main__":
    main()
