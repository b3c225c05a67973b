"""Commands to copy, taken by a real shell."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from making import write_llama
from program import run_spectrum
from spectrum_ft_reports.parts.commands import argument, shell_line, shell_word

PLAIN = ("scan.json", "owner/name@main", "packaged:smollm2-135m", "/a/b.yaml", "25%", "a=b", "./-x")
ODD = (
    *("my scan.json", "$(id); rm -rf ~", "it's", '"', "`a`", "a\\b", "*", "!x", "~user", "#a", ""),
    *(
        "a\nb",
        "\x1b[2J",
        "\r'\\\t",
        "\u202eevil",
        "caf\udce9.gguf",
        "\u00a0",
        "\x1f7",
        "é\x07",
        "日本",
    ),
    "a\u2028b'c",
)
SHELLS = [shell for shell in ("bash", "zsh", "ksh") if shutil.which(shell)]


def taken(shell: str, line: str, **environment: str) -> list[bytes]:
    """The words that a shell makes of `line`."""
    script = f"printf '%s\\0' {line}"
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout.split(b"\0")[:-1]


def test_a_plain_name_stays_as_it_is() -> None:
    assert [argument(name) for name in PLAIN] == list(PLAIN)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_an_odd_name_for_the_very_name(shell: str) -> None:
    line = shell_line(*ODD)
    assert line.isprintable()
    assert taken(shell, line) == [os.fsencode(name) for name in ODD]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_home_folder_stays_one(shell: str) -> None:
    line = " ".join(map(argument, ("~", "~/", "~/my model", "~/\x1b", "~user", "a~/b")))
    expected = [b"/home/a", b"/home/a/", b"/home/a/my model", b"/home/a/\x1b", b"~user", b"a~/b"]
    assert taken(shell, line, HOME="/home/a") == expected


def test_a_name_is_never_an_option() -> None:
    assert [argument(name) for name in ("-x.json", "--force", "-", "- a", "-\n")] == [
        *("./-x.json", "./--force", "./-", "'./- a'", r"$'./-\012'"),
    ]
    assert shell_word("--force") == "--force"


def test_what_can_be_no_name_is_printable_all_the_same() -> None:
    for text in ("a\0b", "\ud800", "x" * 100_000, "\x1b" * 100_000):
        assert argument(text).isprintable()
        assert len(argument(text)) < 17_000


def test_a_scan_and_what_it_says_is_next_go_together_whatever_the_file_is_called(
    tmp_path: Path,
) -> None:
    write_llama(tmp_path / "-model", layers=4)
    for name, shown in (("./-x.json", "./-x.json"), ("a\nb.json", r"$'a\012b.json'")):
        done = run_spectrum("scan", "./-model", "-o", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        says = done.stderr.splitlines()[-1]
        assert says == f"Next: spectrum plan {shown} --top 25% -o plan.yaml"
        words = taken("bash", says.removeprefix("Next: spectrum "))
        made = run_spectrum(*map(os.fsdecode, words), cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        (tmp_path / "plan.yaml").unlink()


def test_the_page_of_a_scan_names_its_file(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=4)
    assert run_spectrum("scan", "model", "-o", "./-x.json", cwd=tmp_path).returncode == 0
    done = run_spectrum("report", "./-x.json", "-o", "x.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "spectrum plan ./-x.json --top 25%" in (tmp_path / "x.md").read_text("utf-8")
