"""What tests of `spectrum train` share: arguments, runs made unfinished, signals in time."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

Spectrum = Callable[..., subprocess.CompletedProcess[str]]
"""The program run in this process with some arguments."""

ARGUMENTS = ("--plan", "plan.yaml", "--data", "data.jsonl", "--batch-size", "2", "--lr", "1e-3")


def in_folder(path: Path) -> dict[str, bytes]:
    """Every file under `path`, with its content."""
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def make_unfinished(run_folder: Path) -> None:
    """Make of a finished run one that was killed after its last checkpoint but one."""
    (run_folder / "run.json").unlink()
    shutil.rmtree(run_folder / "result")
    shutil.rmtree(run_folder / "checkpoints" / "step-000006")


def signal_after_two_steps(
    metrics: Path, number: signal.Signals, *, more_than: int = 0
) -> threading.Thread:
    """A thread that sends this process a signal once two more steps have been kept."""

    def wait_and_send() -> None:
        for _ in range(6000):
            done = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
            if done >= more_than + 2:
                os.kill(os.getpid(), number)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait_and_send)
    thread.start()
    return thread
