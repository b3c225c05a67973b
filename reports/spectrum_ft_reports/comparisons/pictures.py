"""A comparison in pictures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectrum_ft.records.comparisons import Comparison
from spectrum_ft_reports.comparisons.contrast_views import contrast_groups
from spectrum_ft_reports.comparisons.curves import draw_losses
from spectrum_ft_reports.comparisons.intervals import Metric, draw_differences, drawn_answers
from spectrum_ft_reports.comparisons.places import draw_places, drawn_places
from spectrum_ft_reports.comparisons.scatter import draw_accuracies
from spectrum_ft_reports.comparisons.seeds import draw_seeds, drawn_arms, drawn_texts
from spectrum_ft_reports.comparisons.views import model_name, place_text
from spectrum_ft_reports.drawing.frames import (
    ABOVE,
    BELOW,
    TRIM,
    UNDERNEATH,
    blank_figure,
    broken_notes,
    framed_axes,
    make_room,
)
from spectrum_ft_reports.drawing.labels import SIZE
from spectrum_ft_reports.drawing.style import Caption, entitle, label_text, styled

# In inches: the least that a cloud or a curve is drawn in, and a row of an answer, of the values
# of an arm, and of its places.
_LEAST, _ANSWER, _ARM, _PLACES = 3.9, 0.42, 0.3, 0.38


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """A picture that there may be of a comparison."""

    draw: Callable[[Axes, Comparison], Caption]
    """Draws it, without its caption."""
    has_anything: Callable[[Comparison], bool]
    """Whether there is anything to show."""
    height: Callable[[Comparison], float]
    """The height that it is drawn in, in inches."""
    named_left: Callable[[Comparison], list[str]]
    """What stands left of it; empty for the figures of an axis."""
    named_right: Callable[[Comparison], list[str]]
    """What stands right of it."""


def _differences(metric: Metric) -> _Picture:
    return _Picture(
        draw=lambda axes, comparison: draw_differences(axes, comparison, metric),
        has_anything=lambda comparison: bool(drawn_answers(comparison, metric)),
        height=lambda comparison: _ANSWER * len(drawn_answers(comparison, metric)) + TRIM,
        named_left=lambda comparison: [
            text
            for contrast in drawn_answers(comparison, metric)
            for text in (
                label_text(contrast.asked.arm),
                f"against {label_text(contrast.asked.against)}",
            )
        ],
        # Of both metrics, so that one picture is as wide as the other.
        named_right=lambda comparison: [
            text
            for group in contrast_groups(comparison.contrasts)
            for row in group.rows
            for text in (f"{row.difference} ({row.interval})", row.finding)
        ],
    )


def _cloud_height(comparison: Comparison) -> float:
    return max(_LEAST, 1.3 * SIZE / 72 * len(comparison.arms))


def _losses(against: str) -> _Picture:
    return _Picture(
        draw=lambda axes, comparison: draw_losses(
            axes, comparison, "steps" if against == "steps" else "seconds"
        ),
        has_anything=lambda comparison: any(any(arm.curves) for arm in comparison.arms),
        height=_cloud_height,
        named_left=lambda _: [],
        named_right=lambda comparison: [
            label_text(arm.name) for arm in comparison.arms if any(arm.curves)
        ],
    )


_DRAWN: Mapping[str, _Picture] = {
    "accuracy-differences": _differences("accuracy"),
    "loss-differences": _differences("loss"),
    "accuracy-by-memory": _Picture(
        draw=draw_accuracies,
        has_anything=lambda comparison: any(arm.accuracy or arm.loss for arm in comparison.arms),
        height=_cloud_height,
        named_left=lambda _: [],
        named_right=lambda comparison: [
            label_text(arm.name) + " 00.0 ↓"
            for arm in comparison.arms
            if arm.peak_memory_bytes is None
        ],
    ),
    "loss-by-step": _losses("steps"),
    "loss-by-time": _losses("seconds"),
}
_ON_PAGES: Mapping[str, _Picture] = {
    **_DRAWN,
    "places": _Picture(
        draw=draw_places,
        has_anything=lambda comparison: any(any(arm.layers) for arm in comparison.arms),
        height=lambda comparison: _PLACES * len(drawn_places(comparison)) + TRIM,
        named_left=lambda comparison: [label_text(arm.name) for arm in drawn_places(comparison)],
        named_right=lambda comparison: [place_text(arm) for arm in drawn_places(comparison)],
    ),
    "seeds": _Picture(
        draw=draw_seeds,
        has_anything=lambda comparison: bool(drawn_arms(comparison)),
        height=lambda comparison: _ARM * len(drawn_arms(comparison)) + TRIM,
        named_left=lambda comparison: [label_text(arm.name) for arm in drawn_arms(comparison)],
        named_right=lambda comparison: [f"→ {text}" for text in drawn_texts(comparison)],
    ),
}

PICTURES = tuple(_DRAWN)
"""The pictures that there are of a comparison, by name."""


def pictures_of(comparison: Comparison) -> tuple[str, ...]:
    """Those of `PICTURES` that `comparison` has anything to show in."""
    return tuple(name for name in PICTURES if _DRAWN[name].has_anything(comparison))


def draw(comparison: Comparison, *which: str) -> Figure:
    """The pictures `which`, one below the other; each has to be one of `pictures_of`."""
    with styled():
        heights = [ABOVE + _DRAWN[name].height(comparison) + BELOW for name in which]
        figure = blank_figure(sum(heights))
        noted = []
        for row, name in enumerate(which):
            bottom = sum(heights[row + 1 :]) + BELOW
            axes = _axes(figure, comparison, _DRAWN[name], bottom)
            caption = _DRAWN[name].draw(axes, comparison)
            notes = "; ".join(text for text in (model_name(comparison), caption.notes) if text)
            noted.append((axes, broken_notes(axes, notes)))
            entitle(axes, caption.title, noted[-1][1])
        make_room(figure, noted)
        return figure


def draw_for_page(comparison: Comparison, name: str) -> tuple[Figure, Caption] | None:
    """The picture `name` and what to say around it; None where there is nothing to show.

    Any of `PICTURES`, `places` and `seeds`.
    """
    picture = _ON_PAGES[name]
    if not picture.has_anything(comparison):
        return None
    with styled():
        figure = blank_figure(TRIM + picture.height(comparison) + UNDERNEATH)
        axes = _axes(figure, comparison, picture, UNDERNEATH)
        return figure, picture.draw(axes, comparison)


def _axes(figure: Figure, comparison: Comparison, picture: _Picture, bottom: float) -> Axes:
    return framed_axes(
        figure,
        bottom=bottom,
        height=picture.height(comparison),
        left=picture.named_left(comparison),
        right=picture.named_right(comparison),
    )
