"""The answers to the planned questions as intervals around a line at zero."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Literal

from matplotlib.axes import Axes

from spectrum_ft.records.comparisons import Comparison, Contrast
from spectrum_ft_reports.comparisons.bases import told_ends
from spectrum_ft_reports.comparisons.contrast_views import UNITS, contrast_rows
from spectrum_ft_reports.drawing.style import (
    GREY,
    INK,
    UNTRAINED,
    Caption,
    Look,
    label_text,
    looks,
)
from spectrum_ft_reports.parts.bounds import bounded

Metric = Literal["accuracy", "loss"]

MOST_ROWS = 60
"""How many answers a picture has room for; the table holds all."""

_TYPICAL_TIMES = 8.0
"""How many times as wide as the others an interval may be before it is cut."""

_BETTER: dict[Metric, str] = {
    "accuracy": "right of 0: the first is better",
    "loss": "left of 0: the first is better",
}


def drawn_answers(comparison: Comparison, metric: Metric) -> tuple[Contrast, ...]:
    """The answers in `metric` that a picture shows; none where no interval is known at all."""
    told = [_drawable(c) for c in comparison.contrasts if c.metric == metric]
    known = any(_ends(contrast) for contrast in told)
    return tuple(told[:MOST_ROWS]) if known else ()


def _drawable(contrast: Contrast) -> Contrast:
    def drawn(end: float | None) -> float | None:
        return None if end is None else bounded(end)

    low, high = told_ends(contrast.low, contrast.high) or (None, None)
    models_low, models_high = told_ends(contrast.models_low, contrast.models_high) or (None, None)
    return replace(
        contrast,
        difference=bounded(contrast.difference),
        low=drawn(low),
        high=drawn(high),
        models_low=drawn(models_low),
        models_high=drawn(models_high),
    )


def draw_differences(axes: Axes, comparison: Comparison, metric: Metric) -> Caption:
    """Draw each answer in `metric`: the difference, its interval, and what it shows."""
    answers = drawn_answers(comparison, metric)
    unit = UNITS[metric]
    scale = unit.scale
    by_name = dict(zip((a.name for a in comparison.arms), looks(comparison), strict=True))
    reach, cut = _reach(answers, scale)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(len(answers) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.axvline(0.0, color=INK, linewidth=1.0, zorder=1)
    rows = contrast_rows(answers, metric)
    for place, (contrast, row) in enumerate(zip(answers, rows, strict=True)):
        _draw(axes, place, contrast, by_name.get(contrast.asked.arm, UNTRAINED), scale, reach)
        _beside(axes, -0.02, place, label_text(row.arm), f"against {label_text(row.against)}")
        interval = f" ({row.interval})" if contrast.low is not None else ""
        _beside(axes, 1.02, place, f"{row.difference}{interval}", row.finding)
    axes.set_xlabel(f"difference in {unit.metric}, {unit.noun}; {_BETTER[metric]}")
    notes = [_spans(answers), _points(answers)]
    told = sum(1 for contrast in comparison.contrasts if contrast.metric == metric)
    if told > len(answers):
        notes[-1] += f"; the first {len(answers)} of {told:,} questions"
    if cut:
        notes[-1] += "; arrows: goes on beyond the picture"
    return Caption(f"Differences in {unit.metric}", "\n".join(notes))


def _spans(answers: Sequence[Contrast]) -> str:
    """What the intervals are over, of the kinds that are drawn."""
    over = any(contrast.low is not None for contrast in answers)
    models = any(contrast.models_low is not None for contrast in answers)
    texts = ["line: 95 % interval over seeds and questions"] * over
    if models:
        what = "" if over else "95 % interval over questions only, "
        texts.append(f"pale bar: {what}of these very models{' only' * over}")
    return "; ".join(texts)


def _points(answers: Sequence[Contrast]) -> str:
    """What the points mean, of the kinds that are drawn."""
    found = {contrast.finding for contrast in answers}
    texts = []
    if found & {"better", "worse"}:
        texts.append("filled: a difference is shown, corrected for all questions")
    if "no difference shown" in found:
        texts.append("hollow: none is" if texts else "hollow: no difference is shown")
    if "cannot be told" in found:
        texts.append("diamond: cannot be told")
    return "; ".join(texts)


def _ends(contrast: Contrast) -> list[float]:
    ends = (contrast.low, contrast.high, contrast.models_low, contrast.models_high)
    return [end for end in ends if end is not None]


def _reach(answers: Sequence[Contrast], scale: float) -> tuple[float, bool]:
    """How far the axis goes to either side of zero, and whether that cuts an interval.

    Of two seeds an interval may be so wide that nothing else could be seen beside it.
    """
    furthest = [max(map(abs, [c.difference, *_ends(c)])) for c in answers]
    whole = max(furthest)
    least = max(abs(contrast.difference) for contrast in answers)
    reach = min(whole, max(least, _TYPICAL_TIMES * median(furthest)))
    return (1.06 * scale * reach or 1.0), reach < whole


def _draw(
    axes: Axes, place: int, contrast: Contrast, look: Look, scale: float, reach: float
) -> None:
    shown = contrast.finding in ("better", "worse")
    told = contrast.finding != "cannot be told"
    colour = look.colour if told else GREY
    if contrast.models_low is not None and contrast.models_high is not None:
        low, high = scale * contrast.models_low, scale * contrast.models_high
        axes.plot(
            [max(low, -reach), min(high, reach)],
            [place, place],
            color=colour,
            linewidth=9,
            alpha=0.22,
            solid_capstyle="butt",
            zorder=2,
        )
    if contrast.low is not None and contrast.high is not None:
        low, high = scale * contrast.low, scale * contrast.high
        style = "solid" if told else (0, (2, 2))
        inside = [max(low, -reach), min(high, reach)]
        axes.plot(inside, [place, place], color=colour, linewidth=1.6, linestyle=style, zorder=3)
        for end, marker in ((low, "<"), (high, ">")):
            if abs(end) > reach:
                at = reach if end > 0.0 else -reach
                axes.plot([at], [place], marker=marker, color=colour, markersize=6, clip_on=False)
    axes.plot(
        [scale * contrast.difference],
        [place],
        marker="o" if told else "D",
        markersize=7,
        color=colour,
        markerfacecolor=colour if shown else "white",
        markeredgewidth=1.5,
        zorder=4,
    )


def _beside(axes: Axes, x: float, place: int, first: str, second: str) -> None:
    """Write two lines left or right of a row, the second one less strongly."""
    for text, colour, shift in ((first, INK, 1.5), (second, GREY, -1.5)):
        axes.annotate(
            text,
            (x, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(0, shift),
            textcoords="offset points",
            fontsize=9,
            color=colour,
            ha="right" if x < 0.0 else "left",
            va="bottom" if shift > 0.0 else "top",
            annotation_clip=False,
        )
