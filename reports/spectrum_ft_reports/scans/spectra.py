"""The spectrum of one matrix as a histogram, and as a short line of text.

Lengths along the axis are in bins: 16 a decade, 64 in all, the largest value at 64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from spectrum_ft.records.scans import ScannedMatrix, SpectrumSummary
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.sparklines import BLOCKS, Cell, glyph

BINS, A_DECADE = 64, 16
_LINE = 16  # signs
_LINE_FROM = 32  # two decades: what lies below counts in the first sign
_ROOM, _MORE_ROOM = 2.0, 4.5  # bins right of the largest value; an edge may lie up to 2.8 there
_LEAST_HEIGHT, _FULL_HEIGHT = 1.5, 100.0
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A line across the histogram, or a value on an axis."""

    at: float
    """Where, in per cent of the width, or of the height from the top."""
    text: str
    """What stands beside it."""
    is_left: bool = False
    """Whether that stands to its left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """A drawing of 100 x 100, stretched to the room that there is."""

    noise: str
    """The bars up to the edge, as an SVG path."""
    signal: str
    """The bars above it."""
    view: str
    """The part of the bins that is shown, as a `viewBox`."""
    values: tuple[Mark, ...]
    """The singular values along the axis."""
    counts: tuple[Mark, ...]
    """The counts up the side."""
    lines: tuple[Mark, ...]
    """Edge, median and largest value."""


def is_drawable(spectrum: SpectrumSummary | None) -> bool:
    """Whether there is a histogram to draw; a record may have been edited."""
    return (
        spectrum is not None
        and len(spectrum.histogram) == BINS
        and min(spectrum.histogram) >= 0
        and 0 < max(spectrum.histogram) <= 10**9
        and spectrum.max > 0.0
    )


def place(value: float | None, largest: float) -> float | None:
    """Where `value` lies along the axis; None where that is off the axis, or no value."""
    if value is None or value <= 0.0:
        return None
    at = BINS + A_DECADE * (math.log10(value) - math.log10(largest))
    return at if 0.0 <= at <= BINS + _MORE_ROOM else None


def histogram(matrix: ScannedMatrix) -> Histogram:
    """The drawing of a spectrum that `is_drawable`."""
    spectrum = matrix.spectrum
    assert spectrum is not None
    edge = place(matrix.edge, spectrum.max)
    begin = _begin(spectrum.histogram, edge)
    end = BINS + (_MORE_ROOM if edge is not None and edge > BINS + 1 else _ROOM)
    # An edge off the axis lies below all that is shown: no value is noise.
    split = begin if edge is None else edge
    peak = max(spectrum.histogram)
    bars = [(i, count) for i, count in enumerate(spectrum.histogram) if count > 0 and i + 1 > begin]

    def percent(at: float) -> float:
        return round(100.0 * (at - begin) / (end - begin), 2)

    marks = [("edge", matrix.edge, edge)] if edge is not None else []
    marks += [
        (name, value, at)
        for name, value in (("median", spectrum.median), ("max", spectrum.max))
        if (at := place(value, spectrum.max)) is not None and at >= begin
    ]
    return Histogram(
        noise=_path(bars, 0.0, split, peak),
        signal=_path(bars, split, end, peak),
        view=f"{begin} 0 {end - begin:g} 100",
        values=tuple(
            Mark(at=percent(at), text=text) for at, text in _values(spectrum.max, begin, end)
        ),
        counts=_counts(peak),
        lines=_lines([(f"{name} {numbers.score(v)}", percent(at)) for name, v, at in marks]),
    )


def _lines(marks: Sequence[tuple[str, float]]) -> tuple[Mark, ...]:
    """Lines whose texts keep apart: the lowest's stands to its left, if there is room."""
    lowest = min(at for _, at in marks)
    return tuple(
        Mark(at=at, text=text, is_left=at > 75 or (at == lowest and at > 25)) for text, at in marks
    )


def _begin(counts: Sequence[int], edge: float | None) -> int:
    """The first bin shown: whole decades, as few as hold every value and the edge."""
    first = next(i for i, count in enumerate(counts) if count)
    lowest = min(first, BINS if edge is None else math.floor(edge))
    return min(lowest // A_DECADE, BINS // A_DECADE - 1) * A_DECADE


def _path(bars: Sequence[tuple[int, int]], low: float, high: float, peak: int) -> str:
    """Bars from `low` to `high`; one that lies across an end is cut there."""
    drawn = []
    for i, count in bars:
        left, right = max(i + 0.06, low), min(i + 0.94, high)
        if left < right:
            top = _FULL_HEIGHT - _bar(count, peak)
            drawn.append(f"M{left:.4g} 100V{top:.4g}H{right:.4g}V100Z")
    return "".join(drawn)


def _bar(count: int, peak: int) -> float:
    """A bar's height goes with the root of its count, so that a single value can be seen."""
    return max(_LEAST_HEIGHT, _FULL_HEIGHT * math.sqrt(count / peak))


def _values(largest: float, begin: int, end: float) -> list[tuple[float, str]]:
    """Round values along the axis: whole decades, more where few are shown."""
    steps = _STEPS if BINS - begin <= 2 * A_DECADE else _STEPS[:1]
    top = math.log10(largest)
    found = []
    for power in range(math.floor(top) - 5, math.floor(top) + 2):
        for step in steps:
            at = BINS + A_DECADE * (power + math.log10(step) - top)
            if begin <= at <= end:
                found.append((at, _round_value(step, power)))
    return found


def _round_value(step: int, power: int) -> str:
    """`step` times ten to the `power`, as people write it."""
    if not -4 <= power <= 4:
        return f"{step}e{power}"
    return f"{step}{'0' * power}" if power >= 0 else f"0.{'0' * (-power - 1)}{step}"


def _counts(peak: int) -> tuple[Mark, ...]:
    """Round counts up the side, none too close to another."""
    steps = (step * 10**power for power in range(9, -1, -1) for step in reversed(_STEPS))
    marks: list[Mark] = []
    for count in steps:
        at = (
            round(_FULL_HEIGHT - _FULL_HEIGHT * math.sqrt(count / peak), 2) if count <= peak else -1
        )
        if at >= 0 and at <= 90 and (not marks or at - marks[-1].at >= 18):
            marks.append(Mark(at=at, text=f"{count:,}"))
    return tuple(marks)


def compact(matrix: ScannedMatrix) -> str:
    """What a page needs to draw the histogram: the edge's bin, then the counts from the first on.

    `51.234:42,1,0,3`: an edge at bin 51.234, then the counts 1, 0, 3 of the bins from 42 on.
    """
    spectrum = matrix.spectrum
    assert spectrum is not None
    counts = spectrum.histogram
    first = next(i for i, count in enumerate(counts) if count)
    last = next(i for i in range(BINS - 1, -1, -1) if counts[i])
    edge = place(matrix.edge, spectrum.max)
    numbered = ",".join(map(str, (first, *counts[first : last + 1])))
    return f"{'' if edge is None else f'{edge:.2f}'}:{numbered}"


def line(matrix: ScannedMatrix) -> tuple[str, str]:
    """The last two decades as signs: those up to the edge, and those above it."""
    spectrum = matrix.spectrum
    if spectrum is None or not is_drawable(spectrum):
        return "", ""
    counts = spectrum.histogram
    bounds = [0, *range(_LINE_FROM + 2, BINS + 1, 2)]
    sums = [sum(counts[a:b]) for a, b in pairwise(bounds)]
    peak = max(sums)
    heights = [math.sqrt(count / peak) if count else None for count in sums]
    signs = "".join(glyph(Cell(height=height, marked=False), BLOCKS) for height in heights)
    edge = place(matrix.edge, spectrum.max)
    cut = 0 if edge is None else min(_LINE, max(0, round((edge - _LINE_FROM) / 2)))
    return signs[:cut], signs[cut:]
