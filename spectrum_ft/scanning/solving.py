"""From the bytes of matrices to their singular values: what a worker does."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.checkpoint import content_digest, read_bytes
from spectrum_ft.checkpoints.dequantizing import decode
from spectrum_ft.errors import CheckpointError
from spectrum_ft.scanning.jobs import Target
from spectrum_ft.scanning.needs import bytes_needed
from spectrum_ft.spectra.memory_budget import MemoryBudget
from spectrum_ft.spectra.resolving import is_resolved
from spectrum_ft.spectra.scores import Shape
from spectrum_ft.spectra.solvers import (
    METHODS,
    CpuSolver,
    Matrix,
    Method,
    OutOfDeviceMemoryError,
    Solver,
    UnscorableError,
    Values,
)
from spectrum_ft.spectra.store import SpectraStore

Lookup = Callable[[str, Method, str], Values | None]
"""The values kept for a content digest, a method and a backend; None where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """The singular values of one matrix, or why it has none."""

    target: Target
    """The matrix."""
    digest: str
    """Its content's digest."""
    values: Values | None
    """Its singular values, descending; None where it has none that mean anything."""
    method: Method
    """The method that was accurate enough, or that found the reason."""
    reason: str | None
    """Why there are no values."""
    computed: dict[tuple[Method, str], Values]
    """What was computed rather than looked up, by method and backend."""
    reused: bool
    """Whether something was known, and nothing had to be computed."""
    fallback: bool
    """Whether the device had no room for it, so that the CPU did it."""
    lacking_bytes: int
    """The memory that a method would have needed which was out of reach; 0 if none was."""


def keep(solved: Solved, store: SpectraStore) -> Solved:
    """`solved`, after what was computed for it is in the store.

    For the one thread that hands out results, not for the workers: they compute while the disk
    confirms.
    """
    if solved.computed:
        store.put(solved.digest, solved.computed)
    return solved


def recall(
    target: Target, digest: str, *, solver: Solver, score: str, lookup: Lookup
) -> Solved | None:
    """What `lookup` holds of a matrix with that content; None if that is not enough."""
    search = _Search(target, solver)
    search.digest = digest
    for method in METHODS:
        values = lookup(digest, method, solver.backend)
        if values is None:
            return None
        search.accept(values, method, score)
        if search.done:
            return search.result()
    return None


class Worker:
    """Computes matrices with one solver, by the cheapest method that will do.

    Safe to share between threads: more of them than `slots` has means that some read while the
    others compute.
    """

    def __init__(
        self,
        solver: Solver,
        *,
        score: str,
        lookup: Lookup,
        budget: MemoryBudget,
        slots: threading.Semaphore,
    ) -> None:
        self._solver = solver
        self._score = score
        self._lookup = lookup
        self._budget = budget
        self._slots = slots

    def solve(self, batch: Sequence[Target]) -> list[Solved]:
        """The singular values of matrices of one shape; `CheckpointError` for their files."""
        searches = [_Search(target, self._solver) for target in batch]
        for method in METHODS:
            self._advance([search for search in searches if not search.done], method)
        return [search.result() for search in searches]

    def _advance(self, searches: Sequence["_Search"], method: Method) -> None:
        """Have each one's values by `method`, and decide whether they will do."""
        unknown = [search for search in searches if not self._look_up(search, method)]
        for group in _groups(unknown):
            needed = sum(bytes_needed(search.target.entry, method) for search in group)
            if needed > self._budget.total:
                for search in group:
                    if len(group) > 1:
                        self._advance([search], method)
                    else:
                        self._refuse(search, method, needed)
                continue
            # Nothing is held from one method to the next: that could wait for ever.
            with self._budget.reserve(needed):
                self._compute(group, method)

    def _look_up(self, search: "_Search", method: Method) -> bool:
        if not search.digest:
            return False
        values = self._lookup(search.digest, method, search.solver.backend)
        if values is None:
            return False
        search.accept(values, method, self._score)
        return True

    def _compute(self, searches: Sequence["_Search"], method: Method) -> None:
        try:
            unread = [search for search in searches if not self._read(search, method)]
            if unread:
                with self._slots:
                    found = unread[0].solver.solve([search.take for search in unread], method)
                for search, values in zip(unread, found, strict=True):
                    search.add(values, method, self._score)
        except OutOfDeviceMemoryError:
            for search in unread:
                search.drop()
                # One by one first, and what fails alone goes to the CPU.
                if len(unread) == 1:
                    search.fall_back()
                if not self._look_up(search, method):
                    self._compute([search], method)
        except MemoryError:
            largest = max(searches, key=lambda search: search.target.entry.num_params).target.entry
            raise CheckpointError(
                f"{ascii(largest.name)[1:-1]}: not enough memory "
                f"({shown_bytes(bytes_needed(largest, method))} needed)",
                "pass --workers 1, or free some memory; what was scanned so far is kept",
            ) from None
        finally:
            for search in searches:
                search.drop()

    def _read(self, search: "_Search", method: Method) -> bool:
        """Read the bytes; True if that showed that nothing has to be computed."""
        search.read()
        return self._look_up(search, method)

    def _refuse(self, search: "_Search", method: Method, needed: int) -> None:
        # The first method always fits: no scan begins otherwise.
        fault = UnscorableError(
            f"float32 is not accurate enough, and {method} needs {shown_bytes(needed)}, "
            "more than the memory that the scan may use"
        )
        search.lacking_bytes = needed
        search.add(fault, method, self._score)


def shown_bytes(num_bytes: int) -> str:
    """An amount of memory in the unit that reads best."""
    for size, unit in ((2**30, "GiB"), (2**20, "MiB")):
        if num_bytes >= size:
            return f"{num_bytes / size:.3g} {unit}"
    return f"{num_bytes / 2**10:.0f} KiB"


def _groups(searches: Sequence["_Search"]) -> list[list["_Search"]]:
    """Those that share a solver together, as long as there are any."""
    groups: dict[str, list[_Search]] = {}
    for search in searches:
        groups.setdefault(search.solver.backend, []).append(search)
    return list(groups.values())


class _Search:
    """One matrix on its way to values that are accurate enough."""

    def __init__(self, target: Target, solver: Solver) -> None:
        self.target = target
        self.solver = solver
        self.digest = ""
        self.done = False
        self.lacking_bytes = 0
        self._own_solver = solver
        self._raw: list[NDArray[np.uint8]] = []
        self._computed: dict[tuple[Method, str], Values] = {}
        self._values: Values | None = None
        self._reason: str | None = None
        self._method: Method = METHODS[0]
        self._known = False

    def read(self) -> None:
        """Have the bytes, and the digest if it is not known yet."""
        raw = read_bytes(self.target.entry)
        self.digest = self.digest or content_digest(raw, self.target.entry)
        self._raw = [raw]

    def take(self) -> Matrix:
        """The matrix; its bytes are kept nowhere else, so that the solver can free them."""
        return decode(self._raw.pop(), self.target.entry)

    def drop(self) -> None:
        """Forget the bytes."""
        self._raw.clear()

    def fall_back(self) -> None:
        """Go on with the CPU."""
        self.solver = CpuSolver()

    def accept(self, values: Values, method: Method, score: str) -> None:
        """Take values that were kept."""
        self._known = True
        self._settle(values, method, score)

    def add(self, found: Values | UnscorableError, method: Method, score: str) -> None:
        """Take what a solver found."""
        if isinstance(found, UnscorableError):
            self._method, self._reason, self.done = method, str(found), True
            return
        self._computed[method, self.solver.backend] = found
        self._settle(found, method, score)

    def _settle(self, values: Values, method: Method, score: str) -> None:
        shape: Shape = (self.target.entry.shape[0], self.target.entry.shape[1])
        self._values, self._method = values, method
        self.done = is_resolved(values, shape, method, for_score=score)

    def result(self) -> Solved:
        """What was found."""
        return Solved(
            target=self.target,
            digest=self.digest,
            values=None if self._reason else self._values,
            method=self._method,
            reason=self._reason,
            computed=self._computed,
            reused=self._known and not self._computed,
            fallback=self.solver is not self._own_solver,
            lacking_bytes=self.lacking_bytes,
        )
