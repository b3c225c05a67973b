"""Pages in a real browser: opened as a user opens them, and watched while they are open.

Chromium is the one that is installed; nothing is downloaded.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What the browser may be called."""

NEEDED = "SPECTRUM_FT_NEEDS_BROWSER"
"""The environment variable under which a missing browser is a failure."""

WIDE, NARROW = 1200, 390
"""The width of a window on a desk and of a phone, in CSS pixels."""

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")

_ARGUMENTS = (
    "--no-sandbox",  # which containers do not let it have
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # containers give it 64 MB
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browser_program() -> str:
    """The path of the browser; skips the test without one, or fails it where one is `NEEDED`."""
    for name in PROGRAMS:
        if (path := shutil.which(name)) is not None:
            return path
    reason = f"needs a browser: none of {', '.join(PROGRAMS)} is on PATH; apt-get install chromium"
    if os.environ.get(NEEDED):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without a window, while the context lasts."""
    program = browser_program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass(slots=True, kw_only=True)
class Opened:
    """A page that is open, and all that it did which a report should not do."""

    page: Page
    """The page."""
    console: list[str] = field(default_factory=list)
    """Errors and warnings on the console, violations of the page's policy among them."""
    errors: list[str] = field(default_factory=list)
    """Exceptions that no script caught."""
    dialogs: list[str] = field(default_factory=list)
    """Dialogs that scripts opened; each was dismissed."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for, besides the page's own."""

    @property
    def complaints(self) -> list[str]:
        """All of it."""
        return [*self.console, *self.errors, *self.dialogs, *self.requests]


@contextmanager
def opened(
    browser: Browser,
    path: Path,
    *,
    scheme: Scheme = "light",
    scripts: bool = True,
    width: int = WIDE,
    height: int = 900,
    clipboard: bool = False,
) -> Iterator[Opened]:
    """The page in the file `path`, opened in a profile of its own and watched from the start."""
    context = browser.new_context(
        color_scheme=scheme,
        java_script_enabled=scripts,
        viewport={"width": width, "height": height},
        permissions=["clipboard-read", "clipboard-write"] if clipboard else [],
    )
    try:
        watched = Opened(page=context.new_page())
        _watch(watched, path.resolve().as_uri())
        watched.page.goto(path.resolve().as_uri())
        yield watched
    finally:
        context.close()


def _watch(watched: Opened, own: str) -> None:
    page = watched.page
    page.on(
        "console",
        lambda message: (
            watched.console.append(f"{message.type}: {message.text}")
            if message.type in {"error", "warning", "assert"}
            else None
        ),
    )
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on(
        "request", lambda asked: None if asked.url == own else watched.requests.append(asked.url)
    )

    def dismiss(dialog: Dialog) -> None:
        watched.dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
