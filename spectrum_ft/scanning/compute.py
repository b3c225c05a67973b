"""What a scan computes with: how many workers, how much memory, which device, which engine."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import psutil

from spectrum_ft.errors import ComputeError
from spectrum_ft.scanning.jobs import ScanJob, Target
from spectrum_ft.scanning.needs import bytes_needed
from spectrum_ft.scanning.solving import Solved, shown_bytes
from spectrum_ft.spectra.solvers import METHODS
from spectrum_ft.spectra.store import SpectraStore

FREE_SHARE = 0.75
"""The part of the free memory that a scan takes by default."""

SLACK_BYTES = 96 * 2**20
"""What the process itself grows by while it scans: stacks, buffers, the results."""


_STEP_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """What a scan may use."""

    workers: int | None = None
    """Matrices that are computed at a time on each device; None for what suits it."""
    memory_bytes: int | None = None
    """The most memory that the process may take in all; None for most of what is free."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:N`, or `auto`: every CUDA device that is there, else the CPU."""
    engine: str = "local"
    """`local`, or `ray` for a Ray cluster."""


ENGINES = {
    "local": ("spectrum_ft.scanning.local_engine", "LocalEngine"),
    "ray": ("spectrum_ft.scanning.ray_engine", "RayEngine"),
}
"""Where each engine is: the module, imported when it is asked for, and the class."""


class Engine(Protocol):
    """What spreads matrices over workers."""

    @property
    def device(self) -> str:
        """What the spectra are computed on, in words for a report."""

    def solve_all(self, job: ScanJob, store: SpectraStore) -> Iterator[Solved]:
        """Every target of the job as it is finished, and what was computed for it in `store`."""


def open_engine(compute: Compute) -> Engine:
    """The engine that `compute` names; `ComputeError` if it or its device cannot be had."""
    if compute.engine not in ENGINES:
        raise ComputeError(
            f"unknown engine {ascii(compute.engine)[1:-1][:40]!r}", f"engines: {', '.join(ENGINES)}"
        )
    module, name = ENGINES[compute.engine]
    engine: Engine = getattr(import_module(module), name)(compute)
    return engine


def own_bytes() -> int:
    """What the program takes besides matrices, as things stand."""
    return int(psutil.Process().memory_info().rss) + SLACK_BYTES


def memory_for(num_bytes: int) -> str:
    """What to pass as --memory for workers to have `num_bytes`, in steps of 32 MiB.

    The program's own part differs by a little from run to run.
    """
    steps = math.ceil((num_bytes + own_bytes() + 4 * 2**20) / _STEP_BYTES)
    return f"{steps * _STEP_BYTES // 2**20}MiB"


def budget_for(targets: tuple[Target, ...], compute: Compute) -> int:
    """The bytes that the workers may hold together.

    Raises `ComputeError` if that was limited to less than the largest matrix takes.
    """
    if compute.memory_bytes is None:
        # Nobody set a limit: a scan that may swap is better than one that leaves matrices out.
        most = max(bytes_needed(t.entry, method) for t in targets for method in METHODS)
        return max(most, int(FREE_SHARE * psutil.virtual_memory().available))
    # The last method is seldom needed, and left to the matrices that ask for it.
    least = max(bytes_needed(t.entry, method) for t in targets for method in METHODS[:-1])
    own = own_bytes()
    if compute.memory_bytes < own + least:
        raise ComputeError(
            f"{shown_bytes(compute.memory_bytes)} of memory are too little: the largest matrix "
            f"takes {shown_bytes(least)}, the program {shown_bytes(own)}",
            f"pass --memory {memory_for(least)} or more",
        )
    return compute.memory_bytes - own
