"""Where the matrices that an arm trains in full lie."""

from matplotlib.axes import Axes

from spectrum_ft.records.comparisons import ArmResult, Comparison
from spectrum_ft_reports.comparisons.views import place_text
from spectrum_ft_reports.drawing.strips import Strip, draw_strips
from spectrum_ft_reports.drawing.style import Caption, looks

_MOST_ROWS = 60


def drawn_places(comparison: Comparison) -> tuple[ArmResult, ...]:
    """The arms that a picture of places shows: those that train anything in full."""
    return tuple(arm for arm in comparison.arms if any(arm.layers))[:_MOST_ROWS]


def draw_places(axes: Axes, comparison: Comparison) -> Caption:
    """Draw a row of bars for each arm: how many matrices of each block train in full."""
    by_name = dict(zip((a.name for a in comparison.arms), looks(comparison), strict=True))
    arms = drawn_places(comparison)
    strips = [
        Strip(
            name=arm.name,
            values=dict(enumerate(map(float, arm.layers))),
            text=place_text(arm),
            colour=by_name[arm.name].colour,
        )
        for arm in arms
    ]
    draw_strips(axes, strips, layers=max(len(arm.layers) for arm in arms))
    return Caption(
        "Where the trained matrices lie",
        "how many matrices of each block train in full, all arms on one scale, with the first seed",
    )
