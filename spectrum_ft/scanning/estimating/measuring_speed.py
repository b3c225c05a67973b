"""How fast this machine scans, measured with all workers at work on random matrices.

A few sizes suffice: `costs` knows how speed depends on size in general. The Gram matrix and its
eigenvalues are told apart by an oblong matrix beside a square one of the same smaller extent.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from threading import Barrier

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.checkpoint import content_digest
from spectrum_ft.checkpoints.dequantizing import decode
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.scanning.blas_threads import ONE_BLAS_THREAD
from spectrum_ft.scanning.estimating.costs import ASSUMED_EIGENVALUES, ASSUMED_GRAM, Curve, Speeds
from spectrum_ft.spectra.solvers import METHODS, OutOfDeviceMemoryError, Solver

Shape = tuple[int, int]
Timings = Mapping[Shape, float]
"""Seconds that one worker takes for one matrix, by its shape."""

SHAPES: tuple[Shape, ...] = (
    *((256, 256), (512, 512), (512, 4096), (1024, 1024), (1024, 4096)),
    *((2048, 2048), (4096, 4096)),
)
"""What is measured, as far as a scan has matrices of the size; smaller extents ascend."""

ENOUGH_SECONDS = 0.3
"""How long one shape is repeated."""

_DECODED_PARAMS = 2**20
"""Weights of a tensor whose decoding is worth timing; in smaller ones calls count for more."""

_LEAST_SHARE = 0.05
"""Neither the Gram matrix nor the eigenvalues can take less of the time than that: noise."""


def shapes_for(largest: int) -> tuple[Shape, ...]:
    """The shapes to measure for matrices whose smaller extents reach `largest`."""
    sizes = sorted({p for p, _ in SHAPES})
    bound = next((size for size in sizes if size >= largest), sizes[-1])
    return tuple(shape for shape in SHAPES if shape[0] <= bound)


def measure(
    solver: Solver,
    workers: int,
    shapes: Sequence[Shape],
    *,
    known: Timings,
    seconds: float,
    memory_bytes: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Shape, float]:
    """What one worker of `workers` takes for a matrix of each shape, all of them being at work.

    In the order given, without those that are `known`, until the next one would exceed `seconds` in
    all, `memory_bytes`, or the device's memory. With `time.thread_time` as the `clock` other
    programs count for nothing: right for comparing, wrong for what a user will wait for.
    """
    timings: dict[Shape, float] = {}
    missing = [shape for shape in shapes if shape not in known]
    if not missing:
        return timings
    deadline = time.perf_counter() + seconds
    # Relative to what is assumed, at the largest size known.
    slowness = known[max(known)] / _assumed(max(known)) if known else 1.0
    with ONE_BLAS_THREAD, ThreadPoolExecutor(workers) as executor:
        for shape in missing:
            count = solver.batch_size(shape)
            needed = 4 * count * (shape[0] * shape[1] + shape[0] ** 2) * (workers + 1)
            expected = slowness * count * _assumed(shape)
            if needed > memory_bytes or time.perf_counter() + expected > deadline:
                break
            try:
                if not timings:  # the first call finds the routines, and makes buffers for them
                    _all_at_once(executor, workers, _solving(solver, shapes[0]))
                took = _all_at_once(executor, workers, _solving(solver, shape), clock)
            except (MemoryError, OutOfDeviceMemoryError):
                break
            timings[shape] = took / count
            slowness = timings[shape] / _assumed(shape)
    return timings


def _solving(solver: Solver, shape: Shape) -> Callable[[], object]:
    """Something that solves a batch of random matrices when called."""
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    takes = [noise.copy] * solver.batch_size(shape)
    return lambda: solver.solve(takes, METHODS[0])


def _all_at_once(
    executor: ThreadPoolExecutor,
    workers: int,
    work: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The least seconds that `work` takes a worker while every one does it again and again.

    The least, because other programs only add to it; of the workers the median.
    """
    start = Barrier(workers)

    def least() -> float:
        start.wait()
        found, until = float("inf"), clock() + ENOUGH_SECONDS
        while (begun := clock()) < until:
            work()
            found = min(found, clock() - begun)
        return found

    done = [executor.submit(least) for _ in range(workers)]
    return median([future.result() for future in done])


def measure_reading(
    entries: Sequence[TensorEntry],
    workers: int,
    *,
    memory_bytes: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, dict[str, float]]:
    """Seconds a byte for a copy and its digest, and seconds a weight for decoding, by type.

    Of each type in `entries` a tensor of middling size stands for the others; its bytes are not
    read, since zeros take as long. Fewer workers than `workers` where `memory_bytes` are short.
    For the `clock` see `measure`.
    """
    decoding: dict[str, float] = {}
    hashing = 0.0
    for entry in _of_each_type(entries):
        raw = np.zeros(entry.stored_bytes, np.uint8)
        at_once = max(1, min(workers, memory_bytes // (entry.stored_bytes + 4 * entry.num_params)))
        with ThreadPoolExecutor(at_once) as executor:
            hashed = _all_at_once(executor, at_once, partial(_hash_a_copy, raw, entry), clock)
            decoded = _all_at_once(executor, at_once, partial(decode, raw, entry), clock)
        hashing = max(hashing, hashed / entry.stored_bytes)
        decoding[entry.dtype] = decoded / entry.num_params
    return hashing, decoding


def _of_each_type(entries: Sequence[TensorEntry]) -> Iterator[TensorEntry]:
    for dtype in sorted({entry.dtype for entry in entries}):
        by_size = sorted((e for e in entries if e.dtype == dtype), key=lambda e: e.num_params)
        yield next((e for e in by_size if e.num_params >= _DECODED_PARAMS), by_size[-1])


def _hash_a_copy(raw: NDArray[np.uint8], entry: TensorEntry) -> None:
    content_digest(raw.copy(), entry)


def speeds_from(
    timings: Timings, byte_seconds: float, decode_seconds: Mapping[str, float]
) -> Speeds:
    """The speeds that explain what was measured; assumed ones where nothing was."""
    gram = Curve(assumed=ASSUMED_GRAM.assumed, measured=_gram_speeds(timings))
    squares = {p: seconds for (p, q), seconds in timings.items() if p == q}
    eigenvalues = {
        p: max(seconds - gram.at(p) * p**3, _LEAST_SHARE * seconds) / p**3
        for p, seconds in squares.items()
    }
    return Speeds(
        gram=gram,
        eigenvalues=Curve(assumed=ASSUMED_EIGENVALUES.assumed, measured=eigenvalues),
        byte_seconds=byte_seconds,
        decode_seconds=decode_seconds,
    )


def _gram_speeds(timings: Timings) -> dict[int, float]:
    """Seconds an operation of the Gram matrix, where an oblong shape has a square beside it."""
    speeds: dict[int, float] = {}
    for (p, q), seconds in timings.items():
        square = timings.get((p, p))
        if q > p and square is not None:
            longer = max(seconds - square, _LEAST_SHARE * seconds)
            speeds[p] = longer / (p * p * (q - p))
    return speeds


def _assumed(shape: Shape) -> float:
    p, q = shape
    return ASSUMED_GRAM.at(p) * p * p * q + ASSUMED_EIGENVALUES.at(p) * p**3
