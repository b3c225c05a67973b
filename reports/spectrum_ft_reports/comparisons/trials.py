"""What lies behind an arm's figures: the learning rates that were tried, and every seed's value."""

from collections.abc import Sequence
from dataclasses import dataclass

from spectrum_ft.records.comparisons import ArmResult, RateTried
from spectrum_ft_reports.comparisons.columns import NONE, Figure, peak_rate, percent, short_rate
from spectrum_ft_reports.comparisons.contrast_views import LONGEST_NAME
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable

_MOST_RATES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesRow:
    """The rates that were tried for an arm."""

    name: str
    """The arm."""
    figures: tuple[Figure, ...]
    """The loss at each rate; the chosen one is marked as best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesView:
    """The learning rates that were tried, on the validation data."""

    rates: tuple[str, ...]
    """The rates, the lowest first."""
    rows: tuple[RatesRow, ...]
    """The arms for which any was tried."""
    more: str
    """How many rates are not shown; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedsRow:
    """What every seed of an arm reached."""

    name: str
    """The arm."""
    accuracies: str
    """Each seed's accuracy in per cent."""
    losses: str
    """Each seed's held-out loss."""


def rates_view(arms: Sequence[ArmResult]) -> RatesView | None:
    """The rates that were tried; None where all of them were given."""
    every = sorted({tried.lr for arm in arms for tried in arm.rates})
    if not every:
        return None
    rates = every[:_MOST_RATES]
    hidden = len(every) - len(rates)
    return RatesView(
        rates=tuple(short_rate(rate) for rate in rates),
        rows=tuple(_rates_row(arm, rates) for arm in arms if arm.rates),
        more=f"{hidden} more rates are in the record." if hidden else "",
    )


def _rates_row(arm: ArmResult, rates: Sequence[float]) -> RatesRow:
    tried = {one.lr: one for one in arm.rates}
    figures = (_rate(tried.get(rate), chosen=peak_rate(arm) == rate) for rate in rates)
    return RatesRow(name=printable(arm.name, LONGEST_NAME), figures=tuple(figures))


def _rate(tried: RateTried | None, *, chosen: bool) -> Figure:
    if tried is None:
        return Figure(text=NONE)
    if tried.loss is None:
        return Figure(text="came to nothing")
    return Figure(text=numbers.loss(tried.loss), best=chosen, value=tried.loss)


def seeds_rows(arms: Sequence[ArmResult]) -> tuple[SeedsRow, ...]:
    """The values of each arm that was measured with more than one seed."""
    return tuple(
        SeedsRow(
            name=printable(arm.name, LONGEST_NAME),
            accuracies=", ".join(percent(value) for value in _values(arm, "accuracy")) or NONE,
            losses=", ".join(numbers.loss(value) for value in _values(arm, "loss")) or NONE,
        )
        for arm in arms
        if max(len(_values(arm, "accuracy")), len(_values(arm, "loss"))) > 1
    )


def _values(arm: ArmResult, metric: str) -> tuple[float, ...]:
    estimate = arm.accuracy if metric == "accuracy" else arm.loss
    return () if estimate is None else estimate.values
