"""A scan on a Ray cluster: one matrix a task, on whichever node has a processor and the memory.

Nodes read the weights themselves, from a file system that they share or from the Hub, and send
singular values back; the store of spectra stays with the process that drives them. A task whose
worker dies is started again elsewhere.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from spectrum_ft.errors import ComputeError, SpectrumError
from spectrum_ft.scanning.blas_threads import ONE_BLAS_THREAD
from spectrum_ft.scanning.compute import Compute, budget_for
from spectrum_ft.scanning.jobs import ScanJob, Target, largest_first
from spectrum_ft.scanning.needs import bytes_needed
from spectrum_ft.scanning.solving import Solved, Worker, keep, recall, shown_bytes
from spectrum_ft.spectra.memory_budget import MemoryBudget
from spectrum_ft.spectra.solvers import METHODS, CpuSolver, Method, Values
from spectrum_ft.spectra.store import SpectraStore

RETRIES = 3
"""How often a task is started again after the worker or the node under it died."""

AHEAD = 2
"""Tasks that are waiting or running, in units of the cluster's processors."""

_IMPORTS_BYTES = 100 * 2**20

_KNOCK_SECONDS = 10.0

Keys = frozenset[tuple[str, str, str]]


class RayEngine:
    """The processors of the Ray cluster that RAY_ADDRESS names, or of one started here."""

    device = "cpu"

    def __init__(self, compute: Compute) -> None:
        """Raises `ComputeError` where Ray is not installed or the device is no processor."""
        try:
            import ray
        except ImportError:
            raise ComputeError(
                "Ray is not installed", "pip install 'spectrum-ft[ray]', or leave --engine out"
            ) from None
        if compute.device not in ("auto", "cpu"):
            raise ComputeError(
                f"the Ray engine computes on processors, not on {compute.device}",
                "leave --device out, or leave --engine out",
            )
        self._ray = ray
        self._compute = compute

    def solve_all(self, job: ScanJob, store: SpectraStore) -> Iterator[Solved]:
        """Every target as it is finished, largest first; see `Engine`."""
        with self._cluster():
            self._check_nodes(job)
            yield from self._as_finished(job, store)

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """The cluster that this process is connected to, or is now, until the end."""
        if self._ray.is_initialized():
            yield
            return
        try:
            self._connect(os.environ.get("RAY_ADDRESS", ""))
        except (OSError, RuntimeError, ValueError) as fault:
            where = os.environ.get("RAY_ADDRESS", "a new one")
            raise ComputeError(
                f"no connection to the Ray cluster at {ascii(where)[1:-1]} ({fault})",
                "check RAY_ADDRESS and that the cluster runs: `ray status`",
            ) from None
        try:
            yield
        finally:
            self._ray.shutdown()

    def _connect(self, address: str) -> None:
        """Join the cluster at `address`, or start one that only this machine can reach."""
        alone: dict[str, Any] = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
        at_termination = signal.getsignal(signal.SIGTERM)
        _knock(address)
        self._ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else alone),
        )
        # Ray puts its own in the place of ours, and then dies with a dump.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_termination)

    def _check_nodes(self, job: ScanJob) -> None:
        """Raise `ComputeError` for a job that Ray would let wait for ever."""
        resources = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if max((node.get("CPU", 0.0) for node in resources), default=0.0) < 1.0:
            raise ComputeError(
                "no node of the Ray cluster has a processor to lend", "add nodes: `ray start`"
            )
        most = max(node.get("memory", 0.0) for node in resources if node.get("CPU", 0.0) >= 1.0)
        needed = max(map(_needed, job.targets))
        if most < needed:
            raise ComputeError(
                f"the largest matrix takes {shown_bytes(needed)}; "
                f"no node of the Ray cluster has more than {shown_bytes(int(most))} to lend",
                "add a larger node, or start one with `ray start --memory BYTES`",
            )

    def _as_finished(self, job: ScanJob, store: SpectraStore) -> Iterator[Solved]:
        ray = self._ray
        solve = ray.remote(num_cpus=1, max_retries=RETRIES)(_solve)
        known = ray.put(store.keys)
        waiting = iter(largest_first(job.targets))
        running: dict[Any, Target] = {}

        def start(target: Target, known: Any) -> None:
            task = solve.options(memory=_needed(target))
            running[task.remote(target, job.score, known, self._compute, os.getcwd())] = target

        try:
            while True:
                for target in islice(waiting, self._room(len(running))):
                    start(target, known)
                if not running:
                    return
                ready = self._first(running)
                target = running.pop(ready)
                solved = self._collect(ready, target, job, store)
                if solved is None:
                    start(target, frozenset())
                else:
                    yield keep(solved, store)
        finally:
            done, rest = ray.wait(list(running), num_returns=len(running), timeout=0)
            for task in rest:
                ray.cancel(task, force=True)
            for task in done:
                self._keep_if_whole(task, running[task], job, store)

    def _first(self, running: dict[Any, Target]) -> Any:
        """The task that is done next."""
        try:
            (ready, *_), _ = self._ray.wait(list(running), num_returns=1)
        except SystemError as fault:
            # What a signal's handler raised while Ray waited.
            raise fault.__cause__ or fault from None
        return ready

    def _room(self, running: int) -> int:
        """How many more tasks to hand to the cluster, which may grow."""
        processors = int(self._ray.cluster_resources().get("CPU", 0))
        return max(1, self._compute.workers or AHEAD * processors) - running

    def _collect(
        self, task: Any, target: Target, job: ScanJob, store: SpectraStore
    ) -> Solved | None:
        """What a task found; None if the store was to have it and has not."""
        errors = self._ray.exceptions
        try:
            found: Solved | str = self._ray.get(task)
        except errors.RayTaskError as fault:
            if isinstance(fault.cause, SpectrumError):
                raise fault.cause from None
            raise
        except errors.RayError as fault:
            name = ascii(target.entry.name)[1:-1]
            raise ComputeError(
                f"{name}: {1 + RETRIES} workers died on it ({type(fault).__name__})",
                "look at the cluster's memory (`ray status`); what was scanned so far is kept",
            ) from None
        if isinstance(found, Solved):
            return found
        return recall(target, found, solver=CpuSolver(), score=job.score, lookup=store.get)

    def _keep_if_whole(self, task: Any, target: Target, job: ScanJob, store: SpectraStore) -> None:
        """Keep what a task found that nobody waited for; why one failed is of no interest now."""
        try:
            solved = self._collect(task, target, job, store)
        except (SpectrumError, self._ray.exceptions.RayError):
            return
        if solved is not None:
            keep(solved, store)


def _knock(address: str) -> None:
    """Raise `OSError` if nobody listens at `address`; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()


def _needed(target: Target) -> int:
    """What a task asks Ray for: all but the last method, which is seldom needed, and itself."""
    return _IMPORTS_BYTES + max(bytes_needed(target.entry, method) for method in METHODS[:-1])


class _KnownToDriverError(Exception):
    """The store holds this content: the driver need only look."""


def _solve(target: Target, score: str, known: Keys, compute: Compute, folder: str) -> Solved | str:
    """On a node: the singular values of one matrix, or its digest if the driver knows that.

    `folder` is where the driver runs, from which paths are told.
    """
    if os.path.isdir(folder):  # a model on the Hub needs none
        os.chdir(folder)

    def lookup(digest: str, method: Method, backend: str) -> Values | None:
        if (digest, method, backend) in known:
            raise _KnownToDriverError(digest)
        return None

    worker = Worker(
        CpuSolver(),
        score=score,
        lookup=lookup,
        budget=MemoryBudget(budget_for((target,), compute)),
        slots=threading.Semaphore(1),
    )
    # As in a local scan, so that the result is the same to the bit.
    with ONE_BLAS_THREAD:
        try:
            (solved,) = worker.solve([target])
        except _KnownToDriverError as found:
            return str(found)
    return solved
