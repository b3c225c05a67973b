"""What every single seed reached: the values behind a mean and its interval."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from spectrum_ft.records.comparisons import ArmResult, Comparison, Estimate
from spectrum_ft_reports.comparisons.bases import basis, ends_of
from spectrum_ft_reports.comparisons.columns import estimate_text
from spectrum_ft_reports.drawing.labels import SIZE
from spectrum_ft_reports.drawing.style import GREY, INK, Caption, label_text, looks
from spectrum_ft_reports.parts.bounds import bounded

MOST_ROWS = 60
"""How many arms a picture has room for; the table holds all."""


def drawn_arms(comparison: Comparison) -> tuple[ArmResult, ...]:
    """The arms that a picture of single values shows: those that were measured."""
    return tuple(arm for arm in comparison.arms if _estimate(comparison, arm))[:MOST_ROWS]


def drawn_texts(comparison: Comparison) -> list[str]:
    """The mean and the interval of each of them."""
    is_accuracy = _is_accuracy(comparison)
    estimates = [_estimate(comparison, arm) for arm in drawn_arms(comparison)]
    return [estimate_text(e, is_accuracy=is_accuracy) for e in estimates if e is not None]


def _estimate(comparison: Comparison, arm: ArmResult) -> Estimate | None:
    """The accuracy of an arm, or its loss where no accuracy was measured at all."""
    return arm.accuracy if _is_accuracy(comparison) else arm.loss


def _drawable(estimate: Estimate) -> Estimate:
    low = None if estimate.low is None else bounded(estimate.low)
    high = None if estimate.high is None else bounded(estimate.high)
    values = tuple(bounded(value) for value in estimate.values)
    return Estimate(mean=bounded(estimate.mean), low=low, high=high, values=values)


def _is_accuracy(comparison: Comparison) -> bool:
    return any(arm.accuracy is not None for arm in comparison.arms)


def draw_seeds(axes: Axes, comparison: Comparison) -> Caption:
    """Draw a dot for each seed of each arm, its mean as a tick and the interval as a line."""
    arms = drawn_arms(comparison)
    is_accuracy = _is_accuracy(comparison)
    scale = 100.0 if is_accuracy else 1.0
    by_name = dict(zip((a.name for a in comparison.arms), looks(comparison), strict=True))
    texts = drawn_texts(comparison)
    low, high = _limits(comparison, arms, scale)
    axes.set_xlim(low, high)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_yticks(range(len(arms)), [label_text(arm.name) for arm in arms])
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=SIZE, pad=8)
    axes.spines["left"].set_visible(False)
    for place, arm in enumerate(arms):
        estimate = _estimate(comparison, arm)
        assert estimate is not None
        estimate = _drawable(estimate)
        colour = by_name[arm.name].colour
        mean = scale * estimate.mean
        told = ends_of(estimate)
        if told is not None:
            ends = [min(max(scale * end, low), high) for end in told]
            axes.plot(ends, [place, place], color=colour, linewidth=1.4, alpha=0.6, zorder=2)
        values = [scale * value for value in estimate.values]
        axes.plot(
            values,
            [place] * len(values),
            linestyle="",
            marker="o",
            markersize=6,
            color=colour,
            markerfacecolor="white",
            markeredgewidth=1.3,
            zorder=3,
        )
        axes.plot([mean], [place], marker="|", markersize=15, markeredgewidth=2, color=colour)
        axes.annotate(
            ("← " if mean < low else "→ " if mean > high else "") + texts[place],
            (1.02, place),
            xycoords=axes.get_yaxis_transform(),
            fontsize=9,
            color=GREY,
            va="center",
            annotation_clip=False,
        )
    axes.set_xlabel("accuracy, %" if is_accuracy else "held-out loss, nats a token")
    notes = "circle: a seed; tick: their mean"
    measured = [e for arm in arms if (e := _estimate(comparison, arm)) and ends_of(e)]
    if measured:
        notes += f"; line: 95 % interval of the mean, {basis(measured)}"
    if len(arms) < sum(1 for arm in comparison.arms if _estimate(comparison, arm)):
        notes += f"; the first {len(arms)} arms"
    what = "Accuracy" if is_accuracy else "Held-out loss"
    return Caption(f"{what} of every seed", notes)


def _limits(comparison: Comparison, arms: Sequence[ArmResult], scale: float) -> tuple[float, float]:
    """Room around the arms that train; the others count where they lie near."""
    spans = [(arm.steps is not None, _span(_estimate(comparison, arm))) for arm in arms]
    trained = [span for trains, span in spans if trains] or [span for _, span in spans]
    low, high = min(low for low, _ in trained), max(high for _, high in trained)
    reach = high - low
    near = [s for _, s in spans if s[0] >= low - reach and s[1] <= high + reach]
    low, high = min(low, *(s[0] for s in near)), max(high, *(s[1] for s in near))
    room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return scale * (low - room), scale * (high + room)


def _span(estimate: Estimate | None) -> tuple[float, float]:
    assert estimate is not None
    estimate = _drawable(estimate)
    ends = [estimate.mean, *estimate.values]
    ends += [end for end in (estimate.low, estimate.high) if end is not None]
    return min(ends), max(ends)
