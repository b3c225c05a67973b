"""What tests of pages share: a record of every kind, and the page that `spectrum report` makes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from page_records import write_records
from spectrum_ft_cli.main import run

PageOf = Callable[[str], Path]


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A record of every kind, by its name in `page_records.KINDS`."""
    return write_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="session")
def page_of(records: dict[str, Path]) -> PageOf:
    """The page of the record with this name, made by the program when it is first asked for."""

    def page(name: str) -> Path:
        path = records[name].with_suffix(".html")
        if not path.exists():
            assert run(["report", str(records[name]), "-o", str(path), "-q"]) == 0
        return path

    return page
