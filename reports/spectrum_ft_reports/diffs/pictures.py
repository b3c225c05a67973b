"""A diff in pictures: where in a model the scores and the singular values changed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from spectrum_ft.records.diffs import MatrixDiff, ScanDiff
from spectrum_ft_reports.diffs.views import diff_title
from spectrum_ft_reports.drawing.frames import (
    BELOW,
    TRIM,
    UNDERNEATH,
    blank_figure,
    framed_axes,
)
from spectrum_ft_reports.drawing.strips import Strip, draw_strips
from spectrum_ft_reports.drawing.style import Caption, entitle, label_text, styled
from spectrum_ft_reports.pages.theme import LIGHT
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable

_ABOVE, _ROW, _MOST_KINDS = 1.05, 0.5, 40
_SPECTRUM = "spectrum"


class _Drawn(NamedTuple):
    """One picture: its rows and its caption."""

    strips: tuple[Strip, ...]
    caption: Caption


PICTURES = ("score", _SPECTRUM)
"""The pictures that there are of a diff, by name."""


def pictures_of(diff: ScanDiff) -> tuple[str, ...]:
    """Those of `PICTURES` that `diff` has anything to show in."""
    return tuple(name for name in PICTURES if _picture(diff, name).strips)


def draw(diff: ScanDiff, *which: str) -> Figure:
    """The pictures `which`, one below the other; each has to be one of `pictures_of`."""
    with styled():
        pictures = [_picture(diff, name) for name in which]
        heights = [_ABOVE + _height(picture) + BELOW for picture in pictures]
        figure = blank_figure(sum(heights))
        for row, (strips, caption) in enumerate(pictures):
            bottom = sum(heights[row + 1 :]) + BELOW
            _draw(figure, diff, strips, bottom=bottom)
            notes = f"{diff_title(diff)}\n{caption.notes}"
            entitle(figure.axes[-1], caption.title, notes)
        return figure


def draw_for_page(diff: ScanDiff, name: str) -> tuple[Figure, Caption] | None:
    """The picture `name` and what to say around it; None where there is nothing to show."""
    picture = _picture(diff, name)
    if not picture.strips:
        return None
    with styled():
        figure = blank_figure(TRIM + _height(picture) + UNDERNEATH)
        _draw(figure, diff, picture.strips, bottom=UNDERNEATH)
        return figure, picture.caption


def _height(picture: _Drawn) -> float:
    return _ROW * len(picture.strips) + TRIM


def _draw(figure: Figure, diff: ScanDiff, strips: Sequence[Strip], *, bottom: float) -> None:
    axes = framed_axes(
        figure,
        bottom=bottom,
        height=_ROW * len(strips) + TRIM,
        left=[label_text(strip.name) for strip in strips],
        # Of all pictures, so that the layers stand below each other.
        right=[strip.text for name in PICTURES for strip in _picture(diff, name).strips],
    )
    reached = [1 + max(strip.values, default=0) for strip in strips]
    draw_strips(axes, strips, layers=max(diff.a.model.layers, diff.b.model.layers, *reached))


def _picture(diff: ScanDiff, name: str) -> _Drawn:
    if name != _SPECTRUM:
        score = printable(diff.score, 40)
        caption = Caption(
            f"Where the score {score} changed",
            "up: more in B, down: less; one scale for all kinds, of several experts the one that "
            "changed most;\nfilled mark: enters the selection in B, hollow: leaves it",
        )
        return _Drawn(_strips(diff, _score_change, marked=True), caption)
    if any(matrix.distance for matrix in diff.matrices):
        caption = Caption(
            "How far the singular values moved",
            "the distance of all singular values of A and B over the larger norm: the weights "
            "moved that far or more",
        )
        return _Drawn(_strips(diff, _distance, marked=False), caption)
    caption = Caption(
        "Where the singular values changed",
        "the largest change of their maximum, quartiles and sum; up: more in B, down: less",
    )
    return _Drawn(_strips(diff, _summary_change, marked=False), caption)


def _score_change(matrix: MatrixDiff) -> float | None:
    return matrix.score_change


def _distance(matrix: MatrixDiff) -> float | None:
    return matrix.distance


def _summary_change(matrix: MatrixDiff) -> float | None:
    return matrix.spectrum.largest if matrix.spectrum is not None else None


def _strips(
    diff: ScanDiff, value_of: Callable[[MatrixDiff], float | None], *, marked: bool
) -> tuple[Strip, ...]:
    """A row for each kind in whose blocks anything differs, those that have most kept."""
    kinds: dict[str, list[MatrixDiff]] = {}
    for matrix in diff.matrices:
        if matrix.layer is not None:
            kinds.setdefault(matrix.kind, []).append(matrix)
    strips = [
        _strip(kind, kinds[kind], value_of, marked=marked) for kind in list(kinds)[:_MOST_KINDS]
    ]
    shown = [s for s in strips if any(s.values.values()) or s.entering or s.leaving]
    return tuple(sorted(shown, key=lambda strip: strip.name))


def _strip(
    kind: str,
    matrices: Sequence[MatrixDiff],
    value_of: Callable[[MatrixDiff], float | None],
    *,
    marked: bool,
) -> Strip:
    values: dict[int, float] = {}
    for matrix in matrices:
        value = value_of(matrix)
        assert matrix.layer is not None
        if value is not None and abs(value) >= abs(values.get(matrix.layer, 0.0)):
            values[matrix.layer] = value
    largest = numbers.change(max(values.values(), key=abs)) if values else "-"
    if all(value >= 0.0 for value in values.values()) and not marked:
        largest = largest.lstrip("+")
    moves = [(m.layer, m.selected_a, m.selected_b) for m in matrices if marked]
    return Strip(
        name=kind,
        values=values,
        text=f"{len(matrices):,} differ, largest {largest}",
        colour=LIGHT.high,
        entering=frozenset(layer for layer, a, b in moves if b and not a and layer is not None),
        leaving=frozenset(layer for layer, a, b in moves if a and not b and layer is not None),
    )
