"""The table of a comparison, column by column: every figure as a string, and which are best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spectrum_ft.records.comparisons import ArmResult, Estimate
from spectrum_ft_reports.comparisons.bases import ends_of
from spectrum_ft_reports.parts import numbers

NONE = "–"
"""What stands where there is no figure."""

INTERVALS = frozenset({"95 % interval", "loss interval"})
"""The titles of columns with intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of the table."""

    text: str
    """How it reads."""
    best: bool = False
    """Whether no arm has a better one."""
    value: float | None = None
    """What a table that can be sorted sorts by; None where there is no figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureColumn:
    """One column of the table, with a figure for each arm."""

    title: str
    """What it holds, and its unit."""
    figures: tuple[Figure, ...]
    """The figures, in the order of the arms."""
    rank: int
    """How soon it goes where there is no room: the highest first; 0 never does."""


def figure_columns(arms: Sequence[ArmResult]) -> list[FigureColumn]:
    """The columns in which any arm has a figure, from left to right."""
    accuracies = [arm.accuracy for arm in arms]
    losses = [arm.loss for arm in arms]
    general = [arm.general_loss for arm in arms]
    voted = any(arm.samples not in (None, 1.0) for arm in arms)
    samples = [arm.samples if voted else None for arm in arms]
    weights = [arm.trained + arm.adapter_weights or None for arm in arms]
    memory = [arm.peak_memory_bytes for arm in arms]
    columns = [
        _ranked("accuracy, %", 0, _means(accuracies), percent, max),
        _plain("95 % interval", 1, [_interval(a, percent) for a in accuracies], _lows(accuracies)),
        _ranked("held-out loss", 4, _means(losses), numbers.loss, min),
        _plain("loss interval", 9, [_interval(x, numbers.loss) for x in losses], _lows(losses)),
        _ranked("general loss", 7, _means(general), numbers.loss, min),
        _plain("answers sampled", 8, [NONE if s is None else f"{s:.1f}" for s in samples], samples),
        _plain("trained weights", 5, [NONE if w is None else _count(w) for w in weights], weights),
        _ranked("memory", 2, memory, _size, min),
        _ranked("time", 3, [arm.seconds for arm in arms], numbers.seconds, min),
        _plain("lr", 6, [_rates(arm) for arm in arms], [peak_rate(arm) for arm in arms]),
        _plain(
            "tokens/s", 10, [_speed(arm) for arm in arms], [arm.tokens_per_second for arm in arms]
        ),
        _plain("on disk", 11, [_on_disk(arm) for arm in arms], [arm.result_bytes for arm in arms]),
    ]
    return [c for c in columns if any(figure.text != NONE for figure in c.figures)]


def estimate_text(estimate: Estimate, *, is_accuracy: bool) -> str:
    """A mean and its interval: `88.2 (85.2–91.2)` for accuracy, in per cent, or `0.3954`."""
    form = percent if is_accuracy else numbers.loss
    interval = interval_text(estimate, is_accuracy=is_accuracy)
    return form(estimate.mean) + (f" ({interval})" if interval else "")


def interval_text(estimate: Estimate, *, is_accuracy: bool) -> str:
    """The interval of a mean: `85.2–91.2`; empty where it cannot be told."""
    text = _interval(estimate, percent if is_accuracy else numbers.loss)
    return "" if text == NONE else text


def _means(estimates: Sequence[Estimate | None]) -> list[float | None]:
    return [None if estimate is None else estimate.mean for estimate in estimates]


def _lows(estimates: Sequence[Estimate | None]) -> list[float | None]:
    return [None if estimate is None else estimate.low for estimate in estimates]


def _ranked(
    title: str,
    rank: int,
    values: Sequence[float | None],
    form: Callable[[float], str],
    best: Callable[[Sequence[float]], float],
) -> FigureColumn:
    """A column in which some arm is best; figures that read the same are marked the same."""
    known = [value for value in values if value is not None]
    top = form(best(known)) if len(known) > 1 else None
    texts = [NONE if value is None else form(value) for value in values]
    figures = tuple(
        Figure(text=text, best=text == top, value=value)
        for text, value in zip(texts, values, strict=True)
    )
    return FigureColumn(title=title, figures=figures, rank=rank)


def _plain(
    title: str, rank: int, texts: Sequence[str], values: Sequence[float | None]
) -> FigureColumn:
    """A column in which none is best."""
    figures = tuple(
        Figure(text=text, value=value) for text, value in zip(texts, values, strict=True)
    )
    return FigureColumn(title=title, figures=figures, rank=rank)


def percent(share: float) -> str:
    """An accuracy in per cent, one decimal: `88.2`."""
    return f"{100.0 * share:.1f}"


def _count(value: float) -> str:
    return numbers.count(round(value))


def _size(value: float) -> str:
    return numbers.size(round(value))


def _interval(estimate: Estimate | None, form: Callable[[float], str]) -> str:
    ends = ends_of(estimate)
    return NONE if ends is None else f"{form(ends.low)}–{form(ends.high)}"


def _speed(arm: ArmResult) -> str:
    return NONE if arm.tokens_per_second is None else f"{arm.tokens_per_second:,.0f}"


def _on_disk(arm: ArmResult) -> str:
    return NONE if arm.result_bytes is None else numbers.size(arm.result_bytes)


def _rates(arm: ArmResult) -> str:
    """The learning rates of weights and adapters: `5e-5`, `1e-4 + 2e-4`."""
    rates = [short_rate(rate) for rate in (arm.lr, arm.lora_lr) if rate is not None]
    return " + ".join(rates) or NONE


def peak_rate(arm: ArmResult) -> float | None:
    """The learning rate that was chosen for an arm: of its weights, else of its adapters."""
    return arm.lora_lr if arm.lr is None else arm.lr


def short_rate(value: float) -> str:
    """A learning rate with at most three digits: `2e-4`, `1.5e-5`."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"
