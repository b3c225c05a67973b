"""The forecast of a scan, from headers and this machine's speed alone: no weight is read."""

from collections import Counter, defaultdict
from collections.abc import Callable
from functools import reduce
from operator import add

import psutil

from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.checkpoints.weight_files import LocalFile
from spectrum_ft.environment import command_line, current_environment
from spectrum_ft.errors import ComputeError
from spectrum_ft.records.scan_forecasts import KindForecast, ScanForecast
from spectrum_ft.scanning.compute import Compute, budget_for
from spectrum_ft.scanning.devices import solvers_for
from spectrum_ft.scanning.estimating.calibrating import calibrate
from spectrum_ft.scanning.estimating.costs import KEEPING_SECONDS, Cost, Speeds
from spectrum_ft.scanning.estimating.measuring_speed import measure_reading, shapes_for, speeds_from
from spectrum_ft.scanning.estimating.schedules import Task, makespan
from spectrum_ft.scanning.jobs import ScanJob
from spectrum_ft.scanning.local_engine import THREADS_PER_SLOT, batches
from spectrum_ft.scanning.needs import bytes_needed
from spectrum_ft.scanning.scans import model_info
from spectrum_ft.spectra.solvers import METHODS, CpuSolver

CALIBRATION_SECONDS = 15.0
"""The longest that the speed is measured; two processors take a third of that."""

SOON_SECONDS = 30.0
"""A scan that may take less is begun without a word; what is assumed may be off by half."""

GROWTH_BYTES = 44 * 2**20
"""What a process grows by in a scan of the smallest model: stacks, buffers, libraries' own."""

_SHARE = 0.05
"""Of the time that a scan may take, what measuring its speed may take before it."""


def forecast_scan(
    job: ScanJob, compute: Compute | None = None, *, keep: bool = True
) -> ScanForecast:
    """What scanning `job` will take here, if nothing is known of it from earlier scans.

    Measures the speed of this machine for a few seconds, unless that is kept in the cache; without
    `keep` it is neither looked up nor kept. Raises `ComputeError` where memory or the device is
    lacking, or for an engine other than this machine.
    """
    compute = compute or Compute()
    if compute.engine != "local":
        raise ComputeError(
            "a forecast is for this machine, not for a cluster",
            "leave --engine out; so many times the processors take about so many times less",
        )
    return _forecast(_Plan(job, compute), seconds=CALIBRATION_SECONDS, keep=keep)


def forecast_of_long_scan(
    job: ScanJob, compute: Compute, *, keep: bool = True
) -> ScanForecast | None:
    """The same before a scan that may be long; None for one that is soon done, or on a cluster.

    Little is measured before a scan that is little longer.
    """
    if compute.engine != "local":
        return None
    plan = _Plan(job, compute)
    guess = plan.seconds(Speeds())
    if guess < SOON_SECONDS:
        return None
    return _forecast(plan, seconds=min(CALIBRATION_SECONDS, _SHARE * guess), keep=keep)


def _forecast(plan: "_Plan", *, seconds: float, keep: bool) -> ScanForecast:
    job = plan.job
    largest = max(min(target.entry.shape) for target in job.targets)
    calibration = calibrate(
        plan.solver,
        plan.at_once,
        shapes_for(largest),
        seconds=seconds,
        memory_bytes=plan.budget,
        keep=keep,
    )
    entries = [target.entry for target in job.targets]
    reading = measure_reading(entries, plan.at_once, memory_bytes=plan.budget)
    speeds = speeds_from(calibration.by_shape, *reading)
    cost_of = _costs(speeds)
    spent = reduce(add, (cost_of(target.entry) for target in job.targets), Cost())
    return ScanForecast(
        model=model_info(job.checkpoint),
        matrices=len(job.targets),
        skipped=dict(Counter(tensor.reason for tensor in job.skipped).most_common()),
        workers=plan.workers,
        seconds=plan.seconds(speeds),
        unbounded_seconds=plan.seconds(speeds, bounded=False),
        reading_seconds=spent.reading,
        gram_seconds=spent.gram,
        eigenvalues_seconds=spent.eigenvalues,
        again_seconds=spent.again,
        memory_bytes=plan.memory_bytes(),
        read_bytes=sum(target.entry.stored_bytes for target in job.targets),
        streamed=not all(isinstance(target.entry.file, LocalFile) for target in job.targets),
        kinds=_kinds(job, cost_of),
        measured=calibration.measured if calibration.timings else None,
        environment=current_environment(device=plan.device),
        command=command_line(),
    )


def _kinds(job: ScanJob, cost_of: Callable[[TensorEntry], Cost]) -> tuple[KindForecast, ...]:
    """The kinds of the matrices, the costliest first."""
    members: dict[str, list[TensorEntry]] = defaultdict(list)
    for target in job.targets:
        members[target.place.kind].append(target.entry)
    kinds = [
        KindForecast(
            kind=kind,
            matrices=len(entries),
            largest=max((entry.shape for entry in entries), key=lambda s: (s[0] * s[1], s)),
            seconds=sum(cost_of(entry).total for entry in entries),
        )
        for kind, entries in members.items()
    ]
    return tuple(sorted(kinds, key=lambda kind: -kind.seconds))


def _costs(speeds: Speeds) -> Callable[[TensorEntry], Cost]:
    """`speeds.cost`, computed once for all matrices of one shape and type."""
    known: dict[tuple[tuple[int, ...], str, int], Cost] = {}

    def cost_of(entry: TensorEntry) -> Cost:
        key = (entry.shape, entry.dtype, entry.stored_bytes)
        if key not in known:
            known[key] = speeds.cost(entry)
        return known[key]

    return cost_of


class _Plan:
    """How the local engine would go about a scan."""

    def __init__(self, job: ScanJob, compute: Compute) -> None:
        self.job = job
        self.resident = psutil.Process().memory_info().rss
        self.budget = budget_for(job.targets, compute)
        solvers = solvers_for(compute.device)
        self.solver = solvers[0]
        self.device = ", ".join(dict.fromkeys(solver.device for solver in solvers))
        # More threads than suit a device do not make it faster, but hold memory.
        self._slots = compute.workers or self.solver.workers
        self.at_once = min(self._slots, self.solver.workers)
        self.workers = self.at_once * len(solvers)
        self._holding = self._slots * len(solvers)
        self._batches = [[t.entry for t in batch] for batch in batches(job.targets, self.solver)]

    def seconds(self, speeds: Speeds, *, bounded: bool = True) -> float:
        """How long the scan takes at these speeds."""
        cost_of = _costs(speeds)
        is_shared = isinstance(self.solver, CpuSolver)  # what reads computes as well
        tasks: list[Task] = []
        reading = 0.0
        for batch in self._batches:
            costs = [cost_of(entry) for entry in batch]
            took = sum(cost.total if is_shared else cost.computing for cost in costs)
            tasks.append(Task(took, min(self.budget, _needed(batch))))
            reading += sum(cost.reading for cost in costs)
        memory = self.budget if bounded else float("inf")
        computed = makespan(tasks, workers=self.workers, memory_bytes=memory)
        read = 0.0 if is_shared else reading / CpuSolver().workers
        return max(computed, read, len(self.job.targets) * KEEPING_SECONDS)

    def memory_bytes(self) -> int:
        """The most that the process takes: the largest at work, the next ones read beside them."""
        order = sorted(self._batches, key=_needed, reverse=True)
        at_work = sum(_needed(batch) for batch in order[: self._holding])
        waiting = sum(
            entry.stored_bytes
            for batch in order[self._holding : THREADS_PER_SLOT * self._holding]
            for entry in batch
        )
        return self.resident + GROWTH_BYTES + min(self.budget, at_work + waiting)


def _needed(batch: list[TensorEntry]) -> int:
    return sum(bytes_needed(entry, METHODS[0]) for entry in batch)
