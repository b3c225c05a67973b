"""The course of a run, drawn: its loss, its speed, its memory, its learning rates."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from spectrum_ft.records.training import TrainRun, TrainStep
from spectrum_ft.tuning.runs.metrics import Metrics
from spectrum_ft_reports.drawing.style import FAINT, GREY
from spectrum_ft_reports.pages.theme import LIGHT
from spectrum_ft_reports.parts.series import (
    Row,
    evenly_chosen,
    moving_mean,
    ranges,
    smoothing_window,
)
from spectrum_ft_reports.runs.stretches import stretches

MAIN, OTHER = LIGHT.series[0], LIGHT.series[1]
"""What a panel is about, and what it is held against."""

_MOST_POINTS = 400
_MOST_STRETCHES = 100
_FEW_POINTS = 30  # which are marked one by one
_FEW_EVALUATIONS = 60


def titled(axes: Axes, title: str) -> None:
    """Put `title` above `axes`, from the left, and above the legend if there is one."""
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=26)


def _legend(axes: Axes) -> None:
    """Name what is drawn, in one line between the title and the axes."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.985),
        ncols=3,
        frameon=False,
        fontsize=9,
        handlelength=1.6,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def _along_steps(axes: Axes, run: TrainRun) -> None:
    axes.set_xlabel("optimizer steps", fontsize=9.5)
    axes.set_xlim(min(0.5, 1.0 - 0.02 * run.steps), max(1.5, 1.02 * run.steps))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.tick_params(labelsize=9)


def _marker(count: int) -> str:
    return "o" if count <= _FEW_POINTS else ""


def draw_loss(axes: Axes, run: TrainRun, metrics: Metrics) -> None:
    """Draw the training loss of every step, its moving mean, and the held-out losses."""
    x = np.asarray([step.step for step in metrics.steps], dtype=np.float64)
    y = np.asarray([step.loss for step in metrics.steps], dtype=np.float64)
    window = smoothing_window(len(y))
    places = evenly_chosen(len(y), _MOST_POINTS)
    mean = moving_mean(y, window, places)
    if window > 1:
        _each_step(axes, x, y)
    named = f"mean of {window:,} steps" if window > 1 else "each step"
    axes.plot(
        x[places], mean, color=MAIN, linewidth=1.8, marker=_marker(len(y)), ms=3.5, label=named
    )
    held_out = _measured(metrics.evaluations)
    if len(held_out):
        points = "o-" if len(held_out) <= _FEW_EVALUATIONS else "-"
        axes.plot(*held_out.T, points, color=OTHER, linewidth=1.2, ms=4.5, label="held out")
    _fit_loss(axes, y, mean, held_out[:, 1])
    axes.set_ylabel("loss, nats a token", fontsize=9.5)
    titled(axes, "Loss")
    _along_steps(axes, run)
    _legend(axes)


def _each_step(axes: Axes, x: Row, y: Row) -> None:
    """Draw single steps, pale, as a line or as the band that they fill."""
    if len(y) <= 2 * _MOST_POINTS:
        axes.plot(x, y, color=MAIN, linewidth=0.7, alpha=0.35, label="each step")
        return
    places, low, high = ranges(y, _MOST_POINTS)
    axes.fill_between(
        x[places], low, high, color=MAIN, alpha=0.25, linewidth=0.0, label="each step"
    )


def _measured(evaluations: Sequence[TrainStep]) -> Row:
    """Steps and held-out losses, (evaluations, 2); no more than can be seen."""
    pairs = [(step.step, step.eval_loss) for step in evaluations]
    table = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
    return table[evenly_chosen(len(table), _MOST_POINTS)] if len(table) else table


def _fit_loss(axes: Axes, each: Row, mean: Row, held_out: Row) -> None:
    """Set the scale so that all of the means are seen, and nearly all of the single steps.

    A few steps far out are cut off: they would press all the rest into a line.
    """
    low = min(mean.min(), *held_out, np.percentile(each, 1))
    high = max(mean.max(), *held_out, np.percentile(each, 99))
    if low > 0.0 and high > 4.0 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.1, 1.1 * high)
        axes.yaxis.set_major_locator(
            LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if high < 50.0 * low else (1,), numticks=9)
        )
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_ylim(low - room, high + room)
        axes.yaxis.set_major_locator(MaxNLocator(6))


def draw_speed(axes: Axes, run: TrainRun, metrics: Metrics) -> None:
    """Draw the tokens a second of each stretch of steps, evaluations left out."""
    found = stretches(metrics, _MOST_STRETCHES)
    x = [(one.first + one.last) / 2 for one in found]
    y = [np.nan if s.tokens_per_second is None else s.tokens_per_second for s in found]
    longest = max(one.last - one.first + 1 for one in found)
    named = f"mean of {longest:,} steps" if longest > 1 else "each step"
    axes.plot(x, y, color=MAIN, linewidth=1.8, marker=_marker(len(y)), ms=3.5, label=named)
    axes.set_ylim(0.0, 1.12 * float(np.nanmax(y)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:,.0f}"))
    axes.set_ylabel("tokens a second", fontsize=9.5)
    titled(axes, "Throughput")
    _along_steps(axes, run)
    _legend(axes)


def draw_memory(axes: Axes, run: TrainRun, metrics: Metrics) -> None:
    """Draw peak memory so far, what libraries and data took of it, and what was forecast."""
    steps = [step for step in metrics.steps if step.memory_bytes is not None]
    forecast = run.contract.forecast
    expected = forecast.total_bytes + run.imported_memory_bytes if forecast else 0
    most = max(expected, *(step.memory_bytes or 0 for step in steps))
    unit, name = (2**30, "GiB") if most >= 2**30 else (2**20, "MiB")
    y = np.asarray([step.memory_bytes for step in steps], dtype=np.float64) / unit
    x = np.asarray([step.step for step in steps], dtype=np.float64)
    if run.imported_memory_bytes:
        taken = run.imported_memory_bytes / unit
        axes.axhspan(0.0, taken, color=FAINT, linewidth=0.0, label="libraries, data")
    chosen = evenly_chosen(len(y), _MOST_POINTS)
    axes.plot(
        x[chosen],
        y[chosen],
        color=MAIN,
        linewidth=1.8,
        marker=_marker(len(y)),
        ms=3.5,
        label="peak",
    )
    if forecast:
        axes.axhline(
            expected / unit, color=OTHER, linewidth=1.4, linestyle=(0, (5, 2)), label="forecast"
        )
    axes.set_ylim(0.0, 1.12 * most / unit or 1.0)
    axes.set_ylabel(name, fontsize=9.5)
    titled(axes, "Memory, peak so far")
    _along_steps(axes, run)
    _legend(axes)


def draw_rates(axes: Axes, run: TrainRun, metrics: Metrics) -> None:
    """Draw the learning rate of the weights that train in full, of the adapters, or of both.

    Each has a scale of its own: they are far apart and follow one schedule.
    """
    full = ("weights in full", MAIN, "solid", [step.lr for step in metrics.steps])
    adapters = ("adapters", OTHER, (0, (4, 2)), [step.lora_lr for step in metrics.steps])
    given = [line for line in (full, adapters) if any(rate is not None for rate in line[3])]
    steps = np.asarray([step.step for step in metrics.steps], dtype=np.float64)
    chosen = evenly_chosen(len(steps), _MOST_POINTS)
    for place, (name, colour, dash, rates) in enumerate(given):
        scale = axes if place == 0 else axes.twinx()
        y = np.asarray(rates, dtype=np.float64)  # None becomes NaN: a gap
        scale.plot(
            *(steps[chosen], y[chosen]),
            color=colour,
            linestyle=dash,
            linewidth=1.8,
            marker=_marker(len(y)),
            ms=3.5,
        )
        axes.plot([], [], color=colour, linestyle=dash, linewidth=1.8, label=name)
        scale.set_ylim(0.0, 1.08 * float(np.nanmax(y)) or 1.0)
        scale.yaxis.set_major_locator(MaxNLocator(5))
        scale.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:.3g}"))
        scale.tick_params(labelsize=9)
        if place:
            scale.grid(visible=False)
            scale.spines["right"].set_visible(True)
            scale.set_ylabel(name, fontsize=9.5, color=GREY)
    axes.set_ylabel(given[0][0], fontsize=9.5)
    titled(axes, "Learning rate" + "s" * (len(given) > 1))
    _along_steps(axes, run)
    _legend(axes)
