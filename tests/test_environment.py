"""The command line in a record: complete enough to run again, without anybody's secrets."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from making import runs_as_root
from spectrum_ft import __version__
from spectrum_ft.environment import command_line, current_environment, shown_path

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home" / "someone"
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_the_environment_names_versions_machine_and_device() -> None:
    environment = current_environment(device="cpu")
    assert environment.spectrum_ft == __version__
    assert environment.python == platform.python_version()
    assert environment.platform == f"{platform.system()} {platform.machine()}"
    assert environment.device == "cpu"


def test_the_program_is_named_without_its_folder() -> None:
    command = command_line(["/somewhere/bin/spectrum", "scan", "model", "-o", "scan.json"])
    assert command == "spectrum scan model -o scan.json"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--token", TOKEN],
        [f"--token={TOKEN}"],
        ["--hf-token", "anything"],
        ["--hf_token=anything"],
        ["--api-key", "anything"],
        ["--PASSWORD", "anything"],
        ["--client-secret=anything=more"],
        [TOKEN],
        [f"owner/{TOKEN}"],
        [f"--option={TOKEN}"],
        [f"https://user:{TOKEN}@example.org/model"],
        ["sk-anything-0123456789"],
        ["ghp_anything0123456789"],
        ["github_pat_anything0123456789"],
    ],
)
def test_secrets_are_redacted(arguments: list[str]) -> None:
    command = command_line(["spectrum", "scan", *arguments, "model"])
    assert "REDACTED" in command
    assert "anything" not in command
    assert TOKEN not in command
    assert command.endswith(" model")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--train-tokens", "model"],
        ["--tokenizer", "model"],
        ["--token", "--verbose"],
        ["--kinds", "mlp.*"],
        ["--top=25%"],
        ["disk-abcdefgh"],
    ],
)
def test_what_is_no_secret_is_kept(arguments: list[str]) -> None:
    command = command_line(["spectrum", *arguments])
    assert shlex.split(command) == ["spectrum", *arguments]


def test_the_home_folder_is_written_as_a_tilde(home: Path) -> None:
    words = [f"{home}/models/a b", str(home), f"--output={home}/scan.json", f"{home}2/model"]
    command = command_line(["spectrum", "scan", *words])
    assert command == f"spectrum scan ~/'models/a b' '~' '--output=~/scan.json' {home}2/model"
    assert f"{home}/" not in command


def test_a_path_below_home_can_be_pasted_into_a_shell(home: Path) -> None:
    command = command_line(["echo", f"{home}/models/it's; $(here)"])
    finished = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert finished.stdout == f"{home}/models/it's; $(here)\n"


def test_shown_paths_outside_the_home_folder_stay_as_they_are(home: Path) -> None:
    assert shown_path("/models/llama") == "/models/llama"
    assert shown_path("owner/name") == "owner/name"
    assert shown_path(f"{home}") == "~"
    assert shown_path(f"{home}/x") == "~/x"
    assert shown_path(f"{home}x") == f"{home}x"
    assert shown_path(f"/copy{home}/x") == f"/copy{home}/x"


def test_names_that_are_not_unicode_become_text_that_can_be_written() -> None:
    name = b"caf\xe9.gguf".decode("utf-8", "surrogateescape")
    assert shown_path(name) == r"caf\udce9.gguf"
    assert command_line(["spectrum", "scan", name]) == r"spectrum scan 'caf\udce9.gguf'"


@pytest.mark.skipif(not runs_as_root() or not shutil.which("setpriv"), reason="needs root, setpriv")
def test_a_user_without_a_home_folder_is_no_trouble() -> None:
    code = "from spectrum_ft.environment import command_line; print(command_line(['a', '/b', '~']))"
    user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    finished = subprocess.run(
        [*user, sys.executable, "-c", code],
        env={key: value for key, value in os.environ.items() if key != "HOME"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "ModuleNotFoundError" in finished.stderr or "Permission denied" in finished.stderr:
        pytest.skip("another user cannot read this installation")
    assert finished.stderr == ""
    assert finished.stdout == "a /b '~'\n"
