"""From singular values to what a record says of a matrix: scores, edge, summary and flags."""

import math
from dataclasses import dataclass

import numpy as np

from spectrum_ft.records.scans import Flag, SpectrumSummary
from spectrum_ft.spectra.resolving import is_condition_resolved
from spectrum_ft.spectra.scores import (
    SCORES,
    Shape,
    edge_of_snr,
    is_saturated,
    quartiles,
    snr,
)
from spectrum_ft.spectra.solvers import METHODS, Method, UnscorableError, Values, uncertainty

HISTOGRAM_BINS = 64
HISTOGRAM_DECADES = 4

THIN_EXTENT = 16
"""Below this many singular values, quartiles say nothing about noise."""

THIN_RANK = 4
"""Below this rank a matrix is a constant or a few directions, with no noise in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What the singular values of one matrix say."""

    scores: dict[str, float | None]
    """Each score by name; None where it does not exist."""
    summary: SpectrumSummary
    """The values in a few numbers."""
    edge: float
    """The noise edge of `snr`."""
    signal_rank: int
    """How many values lie above it."""
    flags: tuple[Flag, ...]
    """What a reader should know about the scores."""


def measure(values: Values, shape: Shape, method: Method) -> Measurement:
    """What the singular values of a matrix say of it.

    A thin matrix keeps `snr` alone, since nothing else is meaningful for it. One whose quartiles
    coincide within single precision (a low rank, or all values equal) has no noise to measure:
    `UnscorableError`.
    """
    floor = float(values[0]) * math.sqrt(sum(shape)) * 2.0**-24
    rank = int(np.count_nonzero(values > floor))
    thin = min(shape) < THIN_EXTENT or rank < THIN_RANK
    q25, _, q75 = quartiles(values)
    if thin:
        values = np.where(values > floor, values, 0.0)
        scores = dict.fromkeys(SCORES, None) | {"snr": snr(values, shape)}
    elif q75 - q25 <= floor:
        raise UnscorableError(_no_noise(rank, len(values)))
    else:
        scores = {score.name: score.of(values, shape) for score in SCORES.values()}
    flags: list[Flag] = ["thin"] if thin else []
    if is_saturated(values, shape):
        flags.append("saturated")
    if method != METHODS[0]:
        flags.append("escalated")
    if not thin and not is_condition_resolved(values, shape, method):
        flags.append("unresolved")
        scores["condition"] = None
    edge = edge_of_snr(values, shape)
    return Measurement(
        scores=scores,
        summary=_summary(values, float(uncertainty(values, shape, method).max())),
        edge=edge,
        signal_rank=int(np.count_nonzero(values > edge)),
        flags=tuple(flags),
    )


def _no_noise(rank: int, count: int) -> str:
    if rank < count:
        return f"numerical rank {rank} of {count}: no noise to measure"
    return "all singular values are equal: no noise to measure"


def _summary(values: Values, error: float) -> SpectrumSummary:
    q25, median, q75 = quartiles(values)
    top = float(values[0])
    bins = np.geomspace(top / 10.0**HISTOGRAM_DECADES, top, HISTOGRAM_BINS + 1)
    position = np.clip(np.searchsorted(bins, values, side="left") - 1, 0, HISTOGRAM_BINS - 1)
    counts = np.bincount(position, minlength=HISTOGRAM_BINS)
    return SpectrumSummary(
        max=top,
        min=float(values[-1]),
        q25=q25,
        median=median,
        q75=q75,
        sum=float(values.sum()),
        count=len(values),
        error=error,
        histogram=tuple(int(count) for count in counts),
    )
