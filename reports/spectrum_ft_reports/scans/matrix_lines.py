"""Every matrix of a scan in a line of a table; of very many, the experts of a block together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spectrum_ft.records.scans import ScannedMatrix
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.scans import spectra
from spectrum_ft_reports.scans.matrix_texts import (
    dtype_text,
    flags_text,
    full_name,
    layer_text,
    shape_text,
    signal_text,
)
from spectrum_ft_reports.scans.units import Unit, shade

MOST_LINES = 2_000
"""Lines that a browser still sorts and filters at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One matrix, or a unit of many."""

    unit: int
    """Its unit, by its place among `units_of`."""
    member: int
    """Its place in the unit."""
    kind: str
    """Its kind."""
    name: str
    """Its name in the checkpoint, or what the names of many share."""
    layer: str
    """Its block, and its expert if it is one."""
    scores: tuple[str, ...]
    """Its scores, means where it is many."""
    signal: str
    """Singular values above the edge, of how many; empty for many matrices."""
    flags: str
    """What to know about its score."""
    noise: str
    """The short line of its spectrum, up to the edge."""
    above: str
    """The short line of its spectrum from the edge on."""
    shape: str
    """Rows x columns."""
    dtype: str
    """How it is stored."""


def lines_of(units: Sequence[Unit], scores: Sequence[str]) -> list[Line]:
    """A line for each matrix, or for each unit where the matrices are too many.

    At most `MOST_LINES`.
    """
    if sum(len(unit.matrices) for unit in units) <= MOST_LINES:
        return [
            _line(matrix, place, member, scores)
            for place, unit in enumerate(units)
            for member, matrix in enumerate(unit.matrices)
        ]
    means = [shade(units, score).texts for score in scores]
    return [
        _unit_line(unit, place, tuple(texts[place] for texts in means))
        for place, unit in enumerate(units[:MOST_LINES])
    ]


def _line(matrix: ScannedMatrix, unit: int, member: int, scores: Sequence[str]) -> Line:
    noise, above = spectra.line(matrix)
    return Line(
        unit=unit,
        member=member,
        kind=printable(matrix.kind, 60),
        name=full_name(matrix),
        layer=layer_text(matrix),
        scores=tuple(numbers.score(matrix.scores.get(score)) for score in scores),
        signal=signal_text(matrix),
        flags=flags_text(matrix),
        noise=noise,
        above=above,
        shape=shape_text(matrix),
        dtype=dtype_text(matrix),
    )


def _unit_line(unit: Unit, place: int, means: tuple[str, ...]) -> Line:
    alone = replace(_line(unit.matrices[0], place, 0, ()), scores=means)
    if len(unit.matrices) == 1:
        return alone
    others = numbers.plural(len(unit.matrices) - 1, "other")
    return replace(
        alone,
        kind=printable(unit.kind, 60),
        name=f"{alone.name} and {others}",
        layer="-" if unit.layer is None else str(unit.layer),
        signal="",
        flags=" ".join(dict.fromkeys(flag for m in unit.matrices for flag in m.flags)),
        noise="",
        above="",
        shape=_few({matrix.extents: shape_text(matrix) for matrix in unit.matrices}),
        dtype=_few({matrix.dtype: dtype_text(matrix) for matrix in unit.matrices}),
    )


def _few(texts: Mapping[Any, str]) -> str:
    """The different ones among `texts`, as far as they are two."""
    first, *rest = texts.values()
    return ", ".join([first, *(rest if len(rest) < 2 else ["..."])])
