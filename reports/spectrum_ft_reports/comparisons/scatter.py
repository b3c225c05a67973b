"""What every arm reaches against the memory that it takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from spectrum_ft.records.comparisons import ArmResult, Comparison, Estimate
from spectrum_ft_reports.comparisons.bases import basis, ends_of
from spectrum_ft_reports.comparisons.views import domination
from spectrum_ft_reports.drawing.labels import Ending, Point, name_endings, name_points
from spectrum_ft_reports.drawing.style import GREY, Caption, Look, label_text, looks
from spectrum_ft_reports.parts.bounds import bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """An arm where it is drawn."""

    arm: ArmResult
    look: Look
    x: float | None
    """Its memory; None for an arm that does not train."""
    estimate: Estimate
    y: float
    low: float
    high: float


def draw_accuracies(axes: Axes, comparison: Comparison) -> Caption:
    """Draw accuracy against memory, or the held-out loss where no accuracy was measured.

    An arm that does not train takes no memory of training: it is a line all across.
    """
    is_accuracy = any(arm.accuracy is not None for arm in comparison.arms)
    unit, scale = _unit(comparison.arms)
    placed = _placed(comparison, is_accuracy, scale)
    trained = [one for one in placed if one.x is not None]
    _limits(axes, placed)
    _front(axes, trained, higher_is_better=is_accuracy)
    for one in trained:
        _mark(axes, one)
    axes.set_xlabel(f"peak memory of training, {unit}")
    what = "accuracy" if is_accuracy else "held-out loss"
    axes.set_ylabel(f"{what}, {'%' if is_accuracy else 'nats a token'}")
    best = "most accuracy" if is_accuracy else "least loss"
    barred = [one.estimate for one in trained if ends_of(one.estimate) is not None]
    notes = [f"bars: 95 % intervals {basis(barred)}"] if barred else []
    if len(trained) > 1:
        notes.append(f"dotted: the {best} within that memory")
    text = "; ".join(notes)
    if any(one.arm.dominated for one in trained):
        text += f"\nhollow: {domination(comparison.arms)}"
    untrained = [one for one in placed if one.x is None]
    _untrained(axes, untrained, ".1f" if is_accuracy else ".3f")
    name_points(
        axes,
        [
            Point(
                text=label_text(one.arm.name),
                at=(one.x, one.y),
                bar=(one.low, one.high),
            )
            for one in trained
            if one.x is not None
        ],
    )
    return Caption(f"{what.capitalize()} against memory", text.strip())


def _unit(arms: Sequence[ArmResult]) -> tuple[str, float]:
    most = max((arm.peak_memory_bytes or 0 for arm in arms), default=0)
    return ("GiB", 2.0**30) if most >= 2**30 else ("MiB", 2.0**20)


def _placed(comparison: Comparison, is_accuracy: bool, scale: float) -> list[_Placed]:
    found = []
    for arm, look in zip(comparison.arms, looks(comparison), strict=True):
        estimate: Estimate | None = arm.accuracy if is_accuracy else arm.loss
        if estimate is None:
            continue
        factor = 100.0 if is_accuracy else 1.0
        low, high = ends_of(estimate) or (estimate.mean, estimate.mean)
        memory = arm.peak_memory_bytes
        found.append(
            _Placed(
                arm=arm,
                look=look,
                x=None if memory is None else bounded(memory / scale),
                estimate=estimate,
                y=factor * bounded(estimate.mean),
                low=factor * bounded(low),
                high=factor * bounded(high),
            )
        )
    return found


def _limits(axes: Axes, placed: Sequence[_Placed]) -> None:
    """Room around the points; arms that do not train count where they lie near."""
    trained = [one for one in placed if one.x is not None]
    axes.set_xlim(*_around([one.x for one in trained if one.x is not None] or [0.0, 1.0]))
    ends = [end for one in trained or placed for end in (one.low, one.high)]
    low, high = min(ends), max(ends)
    reach = high - low
    near = [one.y for one in placed if low - reach <= one.y <= high + reach]
    axes.set_ylim(*_around([low, high, *near]))


def _around(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def _mark(axes: Axes, one: _Placed) -> None:
    assert one.x is not None
    hollow = one.arm.dominated
    axes.plot([one.x, one.x], [one.low, one.high], color=one.look.colour, linewidth=1.4, alpha=0.6)
    axes.plot(
        [one.x],
        [one.y],
        marker=one.look.marker,
        markersize=8,
        color=one.look.colour,
        markerfacecolor="white" if hollow else one.look.colour,
        markeredgewidth=1.6,
        zorder=3,
    )


def _front(axes: Axes, trained: Sequence[_Placed], *, higher_is_better: bool) -> None:
    """Draw the staircase of the best that can be had within a memory."""
    sign = 1.0 if higher_is_better else -1.0
    best: list[tuple[float, float]] = []
    for one in sorted(trained, key=lambda one: (one.x or 0.0, -sign * one.y)):
        assert one.x is not None
        if not best or sign * one.y > sign * best[-1][1]:
            best.append((one.x, one.y))
    if len(trained) < 2:
        return
    edge = axes.get_xlim()[1]
    xs, ys = zip(*best, (edge, best[-1][1]), strict=True)
    axes.step(xs, ys, where="post", color=GREY, linewidth=1.1, linestyle=":", zorder=1)


def _untrained(axes: Axes, arms: Sequence[_Placed], form: str) -> None:
    """Draw arms that do not train as lines all across; those beyond the picture are only named."""
    low, high = axes.get_ylim()
    endings = []
    for one in arms:
        arrow = " ↓" if one.y < low else " ↑" if one.y > high else ""
        if not arrow:
            axes.axhline(one.y, color=one.look.colour, linewidth=1.3, linestyle=one.look.dash)
        text = f"{label_text(one.arm.name)} {one.y:{form}}{arrow}"
        endings.append(Ending(text=text, at=(axes.get_xlim()[1], one.y), look=one.look))
    name_endings(axes, endings)
