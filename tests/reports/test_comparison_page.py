"""A comparison as a page: its verdict, its figures, its pictures, and whatever a record holds."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from hostile import NAMES, assert_page_is_ours
from made_comparisons import SEEDS, a_comparison, comparison_of, trained_arm, untrained_arm
from page_text import text_of
from spectrum_ft.records.comparisons import Asked, Comparison, CurvePoint, Estimate, RateTried
from spectrum_ft_reports.comparisons.headline import cautions, headline, key_figures
from spectrum_ft_reports.comparisons.page import comparison_page
from spectrum_ft_reports.comparisons.pictures import draw, draw_for_page, pictures_of
from spectrum_ft_reports.comparisons.trials import rates_view, seeds_rows
from spectrum_ft_reports.comparisons.views import comparison_view
from spectrum_ft_reports.pages.masthead import Source

Approved = Callable[[str, str], str]
SOURCE = Source(name="comparison", digest="ab" * 32)
SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)


def page_of(comparison: Comparison) -> str:
    return comparison_page(comparison, source=SOURCE)


def with_contrasts(**changes: Any) -> Comparison:
    """The comparison, all of whose answers are changed alike."""
    made = a_comparison()
    return replace(made, contrasts=tuple(replace(c, **changes) for c in made.contrasts))


def test_the_page_of_a_comparison_reads_as_it_was_approved(approved: Approved) -> None:
    text = text_of(page_of(a_comparison()))
    assert text == approved("comparison-page", text)


def test_every_figure_on_the_page_is_the_views() -> None:
    view = comparison_view(a_comparison())
    cells = set(re.findall(r"<td[^>]*>(?:<strong>)?([^<]*)", page_of(a_comparison())))
    for column in view.columns:
        assert {figure.text for figure in column.figures} <= cells
    for group in view.contrasts:
        for row in group.rows:
            assert {row.difference, row.interval, row.p, row.models, row.finding} <= cells


def test_what_is_best_is_bold_and_what_is_dominated_is_marked() -> None:
    page = page_of(a_comparison())
    assert "<strong>88.2</strong>" in page
    assert page.count("<strong>88.2</strong>") == 1
    assert re.search(r"random-25 †</th>", page)
    assert not re.search(r"full †</th>", page)


def test_figures_sort_by_their_value_and_not_by_their_text() -> None:
    page = page_of(a_comparison())
    memory = {arm.name: arm.peak_memory_bytes for arm in a_comparison().arms}
    for name in ("qlora", "full"):
        (row,) = re.findall(rf'<tr><th scope="row" class="name">{name}</th>.*?</tr>', page, re.S)[
            :1
        ]
        assert f'data-sort="{memory[name]}"' in row
    base = re.search(r'class="name">base</th>.*?</tr>', page, re.S)
    assert base is not None
    assert 'data-sort=""' in base[0]  # what was not measured stays at the end


def test_a_verdict_names_what_is_shown_and_counts_the_rest() -> None:
    told = headline(a_comparison())
    assert told == (
        "In accuracy, spectrum-25 is worse than qlora, spectrum-25:snr_mp is better than "
        "random-25; no difference is shown in 2 of 4 questions."
    )


def test_a_verdict_says_no_more_than_the_answers_do() -> None:
    made = a_comparison()
    none = headline(with_contrasts(finding="no difference shown"))
    assert none == "No difference in accuracy is shown in any of 4 planned questions."
    one = replace(made, contrasts=(replace(made.contrasts[1]),))
    assert (
        headline(one) == "No difference in accuracy is shown between spectrum-25:snr_mp and qlora."
    )
    untold = headline(with_contrasts(finding="cannot be told", reason="from one seed"))
    assert untold == (
        "Which arm is better in accuracy cannot be told from one seed (4 planned questions)."
    )
    assert "no arm is called better" in headline(replace(made, contrasts=()))
    some = replace(
        made,
        contrasts=(made.contrasts[0], replace(made.contrasts[1], finding="cannot be told")),
    )
    assert headline(some) == "In accuracy, spectrum-25 is worse than qlora; 1 cannot be told."
    loss = replace(made, contrasts=made.contrasts[4:])
    assert headline(loss).startswith("In held-out loss, spectrum-25 is worse than qlora")
    many = headline(with_contrasts(finding="better"))
    assert many.endswith("is better than random-25 and 1 more differ.")


def test_the_figures_that_matter_are_the_best_arm_the_first_answer_and_its_costs() -> None:
    figures = [(f.label, f.value, f.note) for f in key_figures(a_comparison())]
    assert figures == [
        ("highest mean accuracy", "88.2 %", "full; 95 % interval 85.2–91.2"),
        (
            "spectrum-25 against qlora",
            "-11.7 points",
            "accuracy; 95 % interval -14.8 to -8.6; worse",
        ),
        ("memory of spectrum-25", "1.46 GiB", "qlora: 1.03 GiB"),
        ("time of spectrum-25", "4 min 12 s", "qlora: 7 min 12 s"),
    ]


def test_without_accuracy_the_lowest_loss_is_told() -> None:
    made = a_comparison()
    arms = tuple(replace(arm, accuracy=None) for arm in made.arms)
    losses = replace(made, arms=arms, contrasts=made.contrasts[4:])
    first, second = key_figures(losses)[:2]
    assert (first.label, first.value) == ("lowest mean held-out loss", "0.3954")
    assert second.value == "+0.3888 nats"
    assert "Held-out loss of every seed" in page_of(losses)
    assert key_figures(replace(made, arms=(), contrasts=())) == ()


def test_thin_statistics_are_cautioned_against() -> None:
    made = a_comparison()
    settings = made.settings
    one_seed = replace(
        with_contrasts(reason="from one seed"), settings=replace(settings, seeds=(0,))
    )
    told = cautions(one_seed)
    assert told[0] == "4 of 4 questions cannot be told from one seed."
    assert told[1].startswith("One seed: ")
    assert cautions(made) == (
        "3 seeds: only a large difference can be told from chance. 5 seeds or more tell smaller "
        "ones.",
    )
    assert cautions(replace(made, settings=replace(settings, seeds=tuple(range(5))))) == ()
    failed = replace(made, arms=(replace(made.arms[2], failed=(1,)),))
    assert any("came to nothing with 1 of 3 seeds" in text for text in cautions(failed))


@pytest.mark.parametrize(
    ("source", "rounded"),
    [
        ("packaged:smollm2-135m", True),
        ("packaged:minilm-l6", False),
        ("packaged:nobody", False),
        ("~/models/a.Q4_1.GGUF", True),
        ("HuggingFaceTB/SmolLM2-135M", False),
    ],
)
def test_a_model_with_rounded_weights_is_told(source: str, rounded: bool) -> None:
    told = cautions(replace(a_comparison(), source=source))
    assert any("GGUF" in text for text in told) is rounded


def test_rates_that_were_tried_are_in_one_table_and_the_chosen_one_stands_out() -> None:
    rates = tuple(RateTried(lr=lr, loss=loss) for lr, loss in ((1e-4, 0.5), (1e-3, None)))
    arms = (
        replace(a_comparison().arms[2], rates=rates, lr=1e-4),
        replace(a_comparison().arms[5], rates=(RateTried(lr=2e-4, loss=0.25),)),
        a_comparison().arms[0],
    )
    view = rates_view(arms)
    assert view is not None
    assert view.rates == ("1e-4", "2e-4", "1e-3")
    assert [[(f.text, f.best) for f in row.figures] for row in view.rows] == [
        [("0.5000", True), ("–", False), ("came to nothing", False)],
        [("–", False), ("0.2500", True), ("–", False)],
    ]
    assert rates_view(arms[2:]) is None
    many = tuple(RateTried(lr=1e-5 * (i + 1), loss=1.0) for i in range(30))
    crowded = rates_view((replace(arms[0], rates=many),))
    assert crowded is not None
    assert len(crowded.rates) == 24
    assert crowded.more == "6 more rates are in the record."


def test_every_seeds_value_is_listed() -> None:
    (row,) = seeds_rows([a_comparison().arms[2]])
    assert row.accuracies == "73.8, 74.6, 75.3"
    assert row.losses == "0.8296, 0.8421, 0.8546"
    assert seeds_rows([a_comparison().arms[0]]) == ()  # one seed is its own mean


def test_pictures_have_titles_and_descriptions_and_share_no_name() -> None:
    page = page_of(a_comparison())
    pictures = [ElementTree.fromstring(svg) for svg in SVG.findall(page)]
    assert len(pictures) == 7
    names = re.findall(r'\bid="([^"]*)"', page)
    assert len(names) == len(set(names))
    for picture in pictures:
        first, second = list(picture)[:2]
        assert first.tag.endswith("title")
        assert second.tag.endswith("desc")
        assert picture.get("aria-labelledby") == f"{first.get('id')} {second.get('id')}"
        pointed = {
            text.removeprefix("url(#").removesuffix(")").removeprefix("#")
            for element in picture.iter()
            for key, text in element.attrib.items()
            if text.startswith("url(#") or (key == "href")
        }
        assert pointed <= set(names)


def test_pictures_have_no_colour_of_their_own() -> None:
    drawn = "".join(SVG.findall(page_of(comparison_of(9))))
    assert not re.search(r"(?:fill|stroke): ?#", drawn)
    assert {f"--series-{place}" for place in range(7)} <= set(re.findall(r"--[\w-]+", drawn))


@pytest.mark.parametrize(
    ("arms", "seeds", "most"), [(10, SEEDS, 260_000), (20, range(5), 340_000), (40, SEEDS, 340_000)]
)
def test_a_page_stays_small(arms: int, seeds: Any, most: int) -> None:
    assert len(page_of(comparison_of(arms, seeds=seeds))) < most


def test_what_cannot_be_told_is_drawn_as_such() -> None:
    made = a_comparison()
    untold = replace(made.contrasts[0], finding="cannot be told", reason="from 2 seeds")
    (axes,) = draw(
        replace(made, contrasts=(untold, *made.contrasts[1:4])), "accuracy-differences"
    ).axes
    by_place = {line.get_ydata()[0]: line for line in axes.lines if line.get_marker() in ("o", "D")}  # type: ignore[index]  # a sequence here
    assert [by_place[place].get_marker() for place in range(4)] == ["D", "o", "o", "o"]
    assert [by_place[place].get_markerfacecolor() == "white" for place in range(4)] == [
        *(True, True, False, True)
    ]
    assert any(text.get_text() == "cannot be told" for text in axes.texts)


def test_without_any_interval_there_is_a_table_and_no_picture() -> None:
    untold = with_contrasts(
        low=None,
        high=None,
        models_low=None,
        models_high=None,
        p=None,
        p_adjusted=None,
        finding="cannot be told",
    )
    assert not {"accuracy-differences", "loss-differences"} & set(pictures_of(untold))
    assert "Answers to the planned questions" in page_of(untold)


def test_an_interval_far_wider_than_the_others_hides_none_of_them() -> None:
    made = a_comparison()
    narrow = [
        replace(c, low=c.difference - 0.001, high=c.difference + 0.001) for c in made.contrasts
    ]
    narrow = [replace(c, difference=0.01, models_low=None, models_high=None) for c in narrow[:4]]
    wide = replace(made, contrasts=(replace(narrow[0], low=-1.0, high=1.0), *narrow[1:]))
    (axes,) = draw(wide, "accuracy-differences").axes
    assert axes.get_xlim()[1] < 100.0
    assert any("goes on beyond" in text.get_text() for text in axes.texts)


HUGE = tuple(CurvePoint(step=i, seconds=1e308, loss=1e308) for i in range(40))
ODD = {
    "nothing": a_comparison(arms=(), contrasts=(), verdicts=(), differences=(), command=""),
    "beyond all bounds": replace(
        with_contrasts(difference=1e308, low=-1e308, high=1e308),
        arms=(
            trained_arm("huge", 0.5, 1e308, mib=10**20, step_seconds=1e300, curves=(HUGE, HUGE)),
        ),
    ),
    "below all bounds": replace(
        with_contrasts(difference=5e-324, low=0.0, high=5e-324, models_low=0.0, models_high=0.0),
        arms=(trained_arm("tiny", 5e-324, 5e-324, mib=0, step_seconds=0.0),),
    ),
    "arms that nobody knows": with_contrasts(asked=Asked(question="?", arm="nobody", against="x")),
    "arms of one name": replace(a_comparison(), arms=a_comparison().arms * 2),
    "endless names": replace(
        a_comparison(),
        source="y" * 10**6,
        arms=(trained_arm("x" * 10**6, 0.5, 1.0, mib=1, step_seconds=1.0),),
    ),
    "seeds without number": replace(
        a_comparison(),
        arms=(
            replace(
                a_comparison().arms[2],
                accuracy=Estimate(
                    mean=0.5, low=None, high=None, values=tuple(i / 999 for i in range(1000))
                ),
            ),
        ),
    ),
    "questions without number": replace(a_comparison(), contrasts=a_comparison().contrasts * 20),
    "layers without number": replace(
        a_comparison(), arms=(replace(a_comparison().arms[2], layers=tuple([0, 1, 2] * 2000)),)
    ),
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_a_page_is_made_of_whatever_a_record_holds(name: str) -> None:
    page = page_of(ODD[name])
    assert_page_is_ours(page)
    assert len(page) < 400_000
    for which in pictures_of(ODD[name]):
        assert draw_for_page(ODD[name], which) is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_strangers_name_is_text_wherever_the_page_shows_it(name: str) -> None:
    made = a_comparison()
    asked = Asked(question=name, arm=name, against=f"{name}2")
    arms = (
        untrained_arm(f"{name}2", 0.5, 1.0),
        trained_arm(name, 0.6, 0.9, mib=1000, step_seconds=1.0, layers=(1, 0, 2), failed=(1,)),
        trained_arm("plain", 0.6, 0.9, mib=900, step_seconds=1.0, dominated=True),
    )
    hostile = replace(
        made,
        source=name,
        arms=arms,
        contrasts=(replace(made.contrasts[0], asked=asked, reason=name),),
        verdicts=(name,),
        differences=(name,),
        environment=replace(made.environment, device=name, platform=name),
        command=name,
    )
    page = comparison_page(hostile, source=Source(name=name, digest=""))
    assert_page_is_ours(page)
    assert page.count("<script>") == 2
    tags = set(re.findall(r"<(\w+)", page))
    assert tags == set(re.findall(r"<(\w+)", page_of(replace(made, arms=(*arms, made.arms[2])))))
