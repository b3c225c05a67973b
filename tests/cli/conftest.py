"""What tests of the program share: a tiny model with a finished run, and the program itself."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spectrum_ft_cli.main import run
from train_program import ARGUMENTS, Spectrum


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
