"""The references that are made from the code: commands, records, public names.

They are written below `_generated` when a build begins, each file only where its text is another
than before, so that a second build reads little.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from command_pages import command_pages
from name_pages import name_pages
from record_pages import record_pages
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

FOLDER = "_generated"


def all_pages() -> Iterator[tuple[str, str]]:
    """Path below the folder and text of every generated page."""
    yield from (("command-line/" + name, text) for name, text in command_pages())
    yield from (("records/" + name, text) for name, text in record_pages())
    yield from (("python/" + name, text) for name, text in name_pages())


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / FOLDER
    pages = dict(all_pages())
    for stray in (p for p in folder.rglob("*") if p.is_file()):
        if stray.relative_to(folder).as_posix() not in pages:
            stray.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    for empty in (p for p in folder.iterdir() if p.is_dir() and not any(p.iterdir())):
        shutil.rmtree(empty)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Written before Sphinx looks for its sources."""
    app.connect("builder-inited", _write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
