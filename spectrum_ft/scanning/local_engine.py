"""A scan on this machine: threads, each with one BLAS thread, under one budget of memory.

BLAS and LAPACK release the interpreter, and two workers of one thread finish 1.7 times as many
matrices as one worker of two. With the number of BLAS threads fixed, a result does not depend on
the number of workers. There are twice as many threads as may compute at a time, so that the next
matrices are read while others are computed.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from itertools import groupby

from spectrum_ft.heap import return_large_blocks
from spectrum_ft.scanning.blas_threads import ONE_BLAS_THREAD
from spectrum_ft.scanning.compute import Compute, budget_for
from spectrum_ft.scanning.devices import solvers_for
from spectrum_ft.scanning.jobs import ScanJob, Target, largest_first
from spectrum_ft.scanning.solving import Solved, Worker, keep
from spectrum_ft.spectra.memory_budget import MemoryBudget
from spectrum_ft.spectra.solvers import Solver
from spectrum_ft.spectra.store import SpectraStore

_LARGE_BLOCK = 4 * 2**20

THREADS_PER_SLOT = 2
"""One that computes, one that reads ahead."""


class LocalEngine:
    """Threads on this machine's processors or GPUs."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._solvers = solvers_for(compute.device)

    @property
    def device(self) -> str:
        """What the spectra are computed on."""
        return ", ".join(dict.fromkeys(solver.device for solver in self._solvers))

    def solve_all(self, job: ScanJob, store: SpectraStore) -> Iterator[Solved]:
        """Every target as it is finished, largest first; see `Engine`."""
        # What is not given back counts against the budget, unseen. Smaller blocks are reused.
        return_large_blocks(_LARGE_BLOCK, keep=8 * _LARGE_BLOCK)
        budget = MemoryBudget(budget_for(job.targets, self._compute))
        seats: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for solver in self._solvers:
            slots = self._compute.workers or solver.workers
            worker = Worker(
                solver,
                score=job.score,
                lookup=store.get,
                budget=budget,
                slots=threading.Semaphore(slots),
            )
            for _ in range(THREADS_PER_SLOT * slots):
                seats.put(worker)
        own = threading.local()

        def take_seat() -> None:
            own.worker = seats.get_nowait()

        def solve(batch: Sequence[Target]) -> list[Solved]:
            worker: Worker = own.worker
            return worker.solve(batch)

        executor = ThreadPoolExecutor(seats.qsize(), "scan", initializer=take_seat)
        with ONE_BLAS_THREAD:
            futures = {executor.submit(solve, b) for b in batches(job.targets, self._solvers[0])}
            yield from _as_finished(futures, executor, store)


def _as_finished(
    futures: set[Future[list[Solved]]], executor: ThreadPoolExecutor, store: SpectraStore
) -> Iterator[Solved]:
    """Results as they come; those that are there when the caller stops are kept as well."""
    patient = True
    try:
        for future in as_completed(futures):
            futures.remove(future)
            yield from [keep(solved, store) for solved in future.result()]
    except BaseException as stop:
        # Whoever interrupts the process does not want to wait for a large matrix.
        patient = isinstance(stop, GeneratorExit | Exception)
        raise
    finally:
        executor.shutdown(wait=patient, cancel_futures=True)
        for future in futures:
            if future.done() and not future.cancelled() and future.exception() is None:
                for solved in future.result():
                    keep(solved, store)


def batches(targets: Sequence[Target], solver: Solver) -> Iterator[Sequence[Target]]:
    """The targets, largest first, in batches of one shape as large as the solver likes them."""

    def extents(target: Target) -> tuple[int, int]:
        return target.entry.shape[0], target.entry.shape[1]

    for shape, group in groupby(largest_first(targets), key=extents):
        equal = list(group)
        size = solver.batch_size(shape)
        for begin in range(0, len(equal), size):
            yield equal[begin : begin + size]
