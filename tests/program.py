"""The real program in a process of its own, as a user runs it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROGRAM = str(Path(sys.executable).parent / "spectrum")


def run_spectrum(
    *arguments: str | Path,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 250.0,
) -> subprocess.CompletedProcess[str]:
    """Run `spectrum`, at 80 columns and without colour; standard output and error as text."""
    finished = subprocess.run(
        [PROGRAM, *map(str, arguments)],
        cwd=cwd,
        input=stdin if stdin is not None else b"",
        capture_output=True,
        check=False,
        timeout=timeout,
        env={
            **os.environ,
            "COLUMNS": "80",
            "NO_COLOR": "1",
            "PYTHONWARNINGS": "error",
            **(env or {}),
        },
    )
    return subprocess.CompletedProcess(
        finished.args,
        finished.returncode,
        finished.stdout.decode("utf-8"),
        finished.stderr.decode("utf-8"),
    )


def assert_explained(
    finished: subprocess.CompletedProcess[str], message: str, *, code: int = 1
) -> None:
    """Assert that a run failed with one `Error:` line with `message`, and one hint at most."""
    lines = finished.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    assert finished.returncode == code, finished.stderr
    assert finished.stdout == ""
    assert len(errors) == 1, finished.stderr
    assert message in errors[0], finished.stderr
    assert "Traceback" not in finished.stderr
    after = lines[lines.index(errors[0]) + 1 :]
    assert len(after) <= 1
    assert all(line.startswith("Hint: ") for line in after)
