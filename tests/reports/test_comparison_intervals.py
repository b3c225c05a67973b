"""What the reports of a comparison say of its intervals and marks: no more than is known."""

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from made_comparisons import a_comparison, an_estimate, comparison_of, trained_arm, untrained_arm
from spectrum_ft.comparing.summaries import mark_dominated
from spectrum_ft.records.comparisons import Comparison, Estimate
from spectrum_ft_reports.comparisons.bases import basis, column_notes, explained, told_ends
from spectrum_ft_reports.comparisons.headline import cautions, key_figures
from spectrum_ft_reports.comparisons.markdown import comparison_markdown
from spectrum_ft_reports.comparisons.page import comparison_page
from spectrum_ft_reports.comparisons.pictures import draw, draw_for_page, pictures_of
from spectrum_ft_reports.comparisons.terminal import print_comparison
from spectrum_ft_reports.comparisons.views import comparison_view, domination
from spectrum_ft_reports.pages.masthead import Source

EQUAL = "memory and time within 2 % count as equal"
NEW_SEEDS, THESE_MODELS = "new seeds and new questions", "if these very models were asked"


def shown(comparison: Comparison, width: int) -> str:
    """What a terminal shows, lines joined."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False, no_color=True)
    print_comparison(console, comparison_view(comparison))
    return stream.getvalue()


def joined(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def page_of(comparison: Comparison) -> str:
    return comparison_page(comparison, source=Source(name="comparison", digest=""))


def with_one_seed(**changes: Any) -> Comparison:
    """Two arms of one seed that did all alike, and the answer to the question about them."""
    made = a_comparison()
    arms = (
        untrained_arm("base", 0.128, 3.812),
        trained_arm("spectrum-25", 0.8, 0.5, mib=1000, step_seconds=1.0, seeds=(0,)),
        trained_arm("qlora", 0.8, 0.5, mib=1000, step_seconds=1.0, seeds=(0,)),
    )
    told = replace(
        made.contrasts[0],
        difference=0.0,
        low=None,
        high=None,
        p=None,
        p_adjusted=None,
        models_low=0.0,
        models_high=0.0,
        finding="cannot be told",
        reason="from one seed",
    )
    settings = replace(made.settings, seeds=(0,))
    return replace(made, arms=arms, contrasts=(replace(told, **changes),), settings=settings)


def test_a_mark_says_that_nearly_equal_costs_count_as_equal() -> None:
    made = a_comparison()
    assert EQUAL in joined(shown(made, 60))
    assert EQUAL in comparison_markdown(comparison_view(made))
    assert EQUAL in page_of(made)
    drawn = draw_for_page(made, "accuracy-by-memory")
    assert drawn is not None
    assert EQUAL in drawn[1].notes


@pytest.mark.parametrize(("mib", "marked"), [(1019, True), (1021, False)])
def test_the_mark_is_given_as_it_is_explained(mib: int, marked: bool) -> None:
    better = trained_arm("better", 0.9, 0.4, mib=mib, step_seconds=1.0)
    worse = trained_arm("worse", 0.8, 0.5, mib=1000, step_seconds=1.0)
    assert mark_dominated([better, worse])[1].dominated is marked


def test_a_mark_of_losses_says_loss() -> None:
    arms = [replace(arm, accuracy=None) for arm in a_comparison().arms]
    assert domination(arms).startswith("another arm is no worse in loss, memory and time")
    assert comparison_view(a_comparison(arms=a_comparison().arms[:3])).domination == ""


def estimates(*numbers: int) -> list[Estimate]:
    return [an_estimate(0.5, 0.1, seeds) for seeds in numbers]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (estimates(3, 3), "over seeds and questions"),
        (estimates(1, 1), "over questions only, of these very models"),
        (
            estimates(1, 3),
            "over seeds and questions (of an arm with one seed over questions only, of these very "
            "models)",
        ),
        (
            [*estimates(3), Estimate(mean=0.0, low=0.0, high=0.1, values=(0.0, 0.0, 0.0))],
            "over seeds and questions (of an arm that is always right or always wrong over "
            "questions only, of these very models)",
        ),
    ],
)
def test_an_interval_is_said_to_be_over_what_it_is_over(
    told: Sequence[Estimate], text: str
) -> None:
    assert basis(told) == text


def test_each_sentence_about_intervals_is_said_only_where_it_holds() -> None:
    single, several = page_of(with_one_seed()), page_of(comparison_of(3))
    assert THESE_MODELS in single
    assert NEW_SEEDS not in single
    assert "over seeds and questions" not in single
    assert NEW_SEEDS in several
    assert THESE_MODELS not in several
    both = page_of(a_comparison())  # its base has one seed
    assert NEW_SEEDS in both
    assert "<strong>95 % interval of an arm with one seed</strong>" in both
    assert THESE_MODELS in both
    assert "that holds 0" not in several  # no difference was asked for
    assert "that holds 0" in both
    assert explained((), ()) == ()
    for name in pictures_of(with_one_seed(models_low=-0.1, models_high=0.1)):
        drawn = draw_for_page(with_one_seed(models_low=-0.1, models_high=0.1), name)
        assert drawn is not None
        assert "over seeds and questions" not in drawn[1].notes
    figure = key_figures(with_one_seed())[0]
    assert figure.note == "spectrum-25; 95 % interval over questions only 77.0–83.0"


def test_a_picture_of_single_runs_explains_what_it_shows() -> None:
    made = with_one_seed(models_low=-0.1, models_high=0.1)
    drawn = draw_for_page(made, "accuracy-differences")
    assert drawn is not None
    assert drawn[1].notes == (
        "pale bar: 95 % interval over questions only, of these very models\ndiamond: cannot be told"
    )


@pytest.mark.parametrize("ends", [(0.0, 0.0), (0.1, 0.1 + 1e-17), (1e308, 1e308), (None, 0.1)])
def test_an_interval_without_width_tells_nothing(ends: tuple[float | None, float | None]) -> None:
    assert told_ends(*ends) is None
    assert told_ends(0.0, 1e-4) == (0.0, 1e-4)


def test_where_every_question_was_answered_alike_no_interval_is_shown_and_it_is_said_why() -> None:
    made = with_one_seed()
    (row,) = comparison_view(made).contrasts[0].rows
    assert row.models == "–"
    why = "No interval is shown where the difference is the same in every question"
    assert why in comparison_markdown(comparison_view(made))
    assert "none is shown where the difference is the same" in page_of(made)
    for text in (page_of(made), comparison_markdown(comparison_view(made)), shown(made, 120)):
        assert "+0.0 to +0.0" not in text
    assert "accuracy-differences" not in pictures_of(made)  # there is nothing but a point
    crossed = with_one_seed(low=0.0, high=0.0, p=1.0, p_adjusted=1.0, seeds=3, reason=None)
    assert key_figures(crossed)[1].note == "accuracy; cannot be told"
    assert [note.columns for note in column_notes(crossed.contrasts)] == [
        ("p",),
        ("95 % interval", "these models"),
    ]


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120])
def test_the_finding_stays_whatever_else_finds_no_room(width: int) -> None:
    text = shown(a_comparison(), width)
    table = text[text.index("accuracy, in points") : text.index("training loss, first seed")]
    heads = [line for line in table.splitlines() if "against" in line]
    assert len(heads) == 2
    assert all(line.endswith("finding") for line in heads)
    assert table.count("no difference shown") == 4
    note = joined(table)
    whole = joined(table.split("no difference shown")[-1])
    for title, word in (("p", "p is corrected"), ("these models", 'under "these models"')):
        anywhere = any(re.search(rf"\b{title}\b", line) for line in heads)
        assert (word in whole) is anywhere, title
    if not all("these models" in line for line in heads):
        assert "no room here for:" in note


def test_columns_that_hold_nothing_take_no_room_on_a_terminal() -> None:
    text = shown(with_one_seed(models_low=-0.1, models_high=0.1), 80)
    (head,) = [line for line in text.splitlines() if "against" in line]
    assert head.split() == ["arm", "against", "by", "these", "models", "finding"]
    assert "no room here for: 95 % interval" not in text


@pytest.mark.parametrize(
    ("source", "rounded"),
    [
        ("~/cache/converted/SmolLM2-135M-Instruct.Q4_1-b179c9523d0e6a0f", True),
        ("/cache/converted/gemma-3-270m-q4_k_m-b179c9523d0e6a0f/", True),
        ("/cache/converted/tiny.IQ2_XXS-b179c9523d0e6a0f", True),
        ("/cache/converted/model.F16-b179c9523d0e6a0f", False),
        ("/cache/converted/model-b179c9523d0e6a0f", False),
        ("owner/model-Q4_1", False),
    ],
)
def test_the_folder_of_a_converted_gguf_tells_its_rounding(source: str, rounded: bool) -> None:
    told = cautions(a_comparison(source=source))
    assert any("GGUF" in text for text in told) is rounded


@pytest.mark.parametrize(
    "source", ["owner/model", "/x/SmolLM2-135M-Instruct.Q4_1-b179c9523d0e6a0f"]
)
def test_what_stands_above_a_picture_is_not_cut_at_its_edge(source: str) -> None:
    made = a_comparison(source=source)
    names = pictures_of(made)
    for which in (*[(name,) for name in names], names):
        figure = draw(made, *which)
        figure.draw_without_rendering()
        below = figure.bbox.y1
        for axes in figure.axes:  # from the top
            start = source.rsplit("/", 1)[-1]
            notes = [text for text in axes.texts if start in text.get_text()]
            boxes = [text.get_window_extent() for text in (*notes, axes.title)]
            assert len(boxes) == 2
            assert all(box.x1 <= figure.bbox.x1 for box in boxes)
            assert all(box.y1 <= below for box in boxes)
            below = axes.get_window_extent().y0


def crowded() -> Comparison:
    """Arms whose points lie as close together as those of a measured comparison did."""
    places = (
        ("spectrum-25", 85.4, 75.9, 95.0, 1748, True),
        ("spectrum-25:snr_mp", 89.6, 83.4, 95.8, 1752, False),
        ("hybrid-25", 86.2, 82.6, 89.9, 1992, True),
        ("qlora", 80.7, 74.6, 86.7, 1805, True),
        ("lora", 81.9, 71.3, 92.5, 2075, True),
        ("full", 87.7, 80.8, 94.5, 3202, True),
        ("random-25", 86.6, 82.2, 90.9, 1724, True),
        ("lowest-25", 84.0, 78.5, 89.5, 1713, False),
    )
    arms = [untrained_arm("base", 0.0, 5.4), untrained_arm("few-shot:5", 0.01, 3.2)]
    for name, mean, low, high, mib, dominated in places:
        accuracy = Estimate(
            mean=mean / 100, low=low / 100, high=high / 100, values=(mean / 100,) * 3
        )
        arm = trained_arm(name, 0.5, 0.1, mib=mib, step_seconds=1.0, dominated=dominated)
        arms.append(replace(arm, accuracy=accuracy))
    return a_comparison(arms=tuple(arms), contrasts=())


def test_a_name_stands_far_nearer_to_its_own_point_than_to_others_or_is_led_to_it() -> None:
    figure = draw(crowded(), "accuracy-by-memory")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    gib = {arm.name: (arm.peak_memory_bytes or 0) / 2**30 for arm in crowded().arms if arm.steps}
    means = {arm.name: 100 * arm.accuracy.mean for arm in crowded().arms if arm.accuracy}
    dots = {name: axes.transData.transform((gib[name], means[name])) for name in gib}
    leads = {
        tuple(axes.transData.transform(np.asarray(line.get_xydata())[0]).round())
        for line in axes.lines
        if line.get_linewidth() == 0.6
    }
    labels = [text for text in axes.texts if text.get_text() in gib]
    assert len(labels) == len(gib)
    for text in labels:
        box = text.get_window_extent()
        away = {
            name: max(box.x0 - x, x - box.x1, box.y0 - y, y - box.y1)
            for name, (x, y) in dots.items()
        }
        own = text.get_text()
        assert all(gap > 3.0 for gap in away.values()), own  # over no point
        others = min(gap for name, gap in away.items() if name != own)
        assert tuple(dots[own].round()) in leads or others > 2.0 * away[own], own
