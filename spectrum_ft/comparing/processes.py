"""Running a job in a process of its own, and hearing how far it is."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from spectrum_ft.comparing.jobs import Job
from spectrum_ft.comparing.trial_process import JOB, REFUSED, STOPPED
from spectrum_ft.record_files import to_json
from spectrum_ft.records.comparisons import CompareError
from spectrum_ft.writing import make_folder, write_file

LOG = "log.txt"


class ComparisonStopped(Exception):
    """The comparison was asked to stop, and has: every finished trial is kept."""


def run_job(job: Job, folder: Path, should_stop: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """Do `job` in `folder`; what its process tells, a message at a time, as it comes.

    `should_stop` is asked after each message; once it says so the process is told to keep a
    checkpoint, and `ComparisonStopped` raised when it has. Raises `CompareError` if it fails.
    """
    make_folder(folder)
    write_file(folder / JOB, to_json(job), force=True)
    refusal: dict[str, Any] = {}
    told_to_stop = False
    with (
        (folder / LOG).open("wb") as log,
        subprocess.Popen(
            # -P: a folder named spectrum_ft where the user happens to be is not ours.
            [sys.executable, "-P", "-m", "spectrum_ft.comparing.trial_process", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl+C is for this process, which passes it on
        ) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                message = json.loads(line)
                if "error" in message:
                    refusal = message
                    continue
                yield message
                if should_stop() and not told_to_stop:
                    process.terminate()
                    told_to_stop = True
            code = process.wait()
        finally:
            process.kill()
    if told_to_stop and code != 0:
        raise ComparisonStopped
    if code == REFUSED and refusal:
        raise CompareError(f"the arm {job.arm}: {refusal['error']}", _hint(refusal["hint"], folder))
    if code == STOPPED:
        raise CompareError(
            f"the arm {job.arm}: its process was told to stop by somebody else",
            "the same command goes on from there",
        )
    if code != 0:
        raise CompareError(f"the arm {job.arm}: {_end(code, folder)}", f"see {folder / LOG}")


def _hint(hint: str | None, folder: Path) -> str | None:
    """The hint; one that speaks of a run's folder would delete more than that here."""
    return f"delete {folder} to try it again" if hint and "--force" in hint else hint


def _end(code: int, folder: Path) -> str:
    if code < 0:
        why = "; there may have been too little memory" if code == -signal.SIGKILL else ""
        return f"its process was killed (signal {-code}){why}"
    lines = (folder / LOG).read_text("utf-8", "replace").strip().splitlines() or ["no word"]
    return f"its process failed ({ascii(lines[-1])[1:-1][:200]})"
