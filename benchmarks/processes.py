"""What processes cost on this machine, for the benchmarks.

The process that imports this has to stay small and leave heavy imports to its children: on Linux
the peak memory of a process counts from the fork on, so a large parent would pass for the child's
own.
"""

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import click

PACKAGES = (
    *("spectrum-ft", "numpy", "scipy", "safetensors", "torch", "transformers"),
    *("trl", "peft", "bitsandbytes"),
)
"""Whose versions a record names, as far as they are installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one process took."""

    wall_seconds: float
    """From its start to its end, imports included."""
    cpu_seconds: float
    """User and system time of all its threads."""
    peak_mb: float
    """Most resident memory at a time, of the largest process of its tree, in 10^6 bytes."""
    scan_seconds: float = math.nan
    """Its own clock: ours without imports, a peer's also without loading the model."""


def run_child(command: list[str], **variables: str) -> tuple[Cost, str]:
    """The cost of a process and its standard output; raises `ClickException` if it fails."""
    # No graphics card and no network for either side.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", **variables}
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        said.seek(0)
        if process.returncode:
            raise click.ClickException(said.read().decode(errors="replace")[-2000:])
        output = printed.read().decode()
    # Linux counts in KiB, macOS in bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(wall_seconds=wall, cpu_seconds=cpu, peak_mb=peak), output


def run_python(program: str, *arguments: str, **variables: str) -> tuple[Cost, Any]:
    """The cost of a Python program and the JSON in its last line."""
    cost, output = run_child([sys.executable, "-c", program, *arguments], **variables)
    return cost, json.loads(output.splitlines()[-1])


def num_processors() -> int:
    """The processors that a process of ours may use, of which a scan takes one a worker."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """The facts that figures depend on; nothing that names the machine or its user."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_at_start": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def summarize(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": median(values), "min": min(values), "max": max(values)}
