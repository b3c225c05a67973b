"""What is said of inequalities between arms, and of comparisons that are not finished."""

from dataclasses import replace

from made_finished_trials import SETTINGS, rate_trial, sheet, trained
from made_trials import DATA, arm, evaluation
from spectrum_ft.comparing.concluding import conclude
from spectrum_ft.comparing.differences import differences
from spectrum_ft.comparing.tables import ArmTrials
from spectrum_ft.records.comparisons import Asked

SEEDS = [sheet(100)] * 3
ALWAYS = "Times are of one machine, and of whatever else it was doing."
GIVEN = "Learning rates were given, not chosen for each arm."


def said(*arms: ArmTrials, **changed: object) -> str:
    """All that is said of these arms."""
    return " ".join(differences(replace(SETTINGS, **changed), arms, ()))  # type: ignore[arg-type]


def test_equal_arms_have_only_caveats() -> None:
    assert differences(SETTINGS, [trained("a", SEEDS), trained("b", SEEDS)], ()) == (GIVEN, ALWAYS)


def test_what_is_not_equal_is_named_with_short_values() -> None:
    first = trained("a", SEEDS)
    assert "optimizer steps (100, 80)." in said(first, trained("b", SEEDS, steps=80))
    other = replace(DATA, digest="f" * 64)
    assert "Not equal in all trials: training data." in said(first, trained("b", SEEDS, data=other))
    on_gpu = trained("b", SEEDS, contract={"device": "cuda:0"})
    assert "device (cpu, cuda:0)." in said(first, on_gpu)
    assert "tokens seen." in said(first, trained("b", SEEDS, tokens=1001))


def test_equal_minutes_are_told_instead_of_unequal_steps() -> None:
    text = said(trained("a", SEEDS), trained("b", SEEDS, steps=80), minutes=2.5)
    assert "Arms had the same 2.5 minutes" in text
    assert "optimizer steps" not in text


def test_a_matched_budget_is_told() -> None:
    assert "--match memory:qlora" in said(trained("a", SEEDS), match="memory:qlora")


def test_rows_that_were_cut_or_left_out_are_counted() -> None:
    lossy = replace(DATA, rows=1200, truncated=7, dropped=2)
    text = said(trained("a", SEEDS, data=lossy), trained("b", SEEDS, data=lossy))
    assert "Of 1,200 training rows, 7 were cut and 2 left out." in text


def test_rates_that_were_not_chosen_are_told() -> None:
    tried = [rate_trial("a", lr, 1.0) for lr in (1e-5, 1e-4, 1e-3)]
    text = said(trained("a", SEEDS, rates=tried), trained("b", SEEDS))
    assert "Learning rates were given, not chosen, for: b." in text
    assert "may lie beyond" not in text


def test_a_best_rate_at_the_edge_of_the_range_is_told() -> None:
    tried = [rate_trial("a", lr, 1.0) for lr in (1e-5, 1e-4)]  # trials are made at 1e-4
    assert "may lie beyond, for: a." in said(trained("a", SEEDS, rates=tried))


def test_the_adapters_fixed_rate_is_told_only_where_rates_were_chosen() -> None:
    tried = [rate_trial("h", lr, 1.0) for lr in (1e-5, 1e-4)]
    assert "only the weights' rate was chosen" not in said(trained("h", SEEDS, lora=True))
    assert "only the weights' rate was chosen" in said(trained("h", SEEDS, lora=True, rates=tried))


def test_an_unfinished_comparison_says_what_is_missing() -> None:
    arms = [
        arm("base", [evaluation(sheet(20))]),
        trained("a", SEEDS),
        trained("b", SEEDS[:2]),
        ArmTrials(name="c", trials=(), rates=(rate_trial("c", 1e-4, 1.0),)),
    ]
    questions = [
        Asked(question=f"Is a better than {rival}?", arm="a", against=rival) for rival in "bc"
    ]
    found = conclude("model", SETTINGS, arms, questions)
    assert [one.name for one in found.arms] == ["base", "a", "b"]
    assert [(c.asked.against, c.seeds) for c in found.contrasts] == [("b", 2)]
    assert found.differences[:2] == ("No result yet: c.", "Fewer than 3 seeds yet: b 2.")
    assert found.seconds == 1.0 + 3.0 + 2.0 + 2.0


def test_a_comparison_without_any_trial_can_be_told_too() -> None:
    found = conclude("model", SETTINGS, [ArmTrials(name="a", trials=())], [])
    assert (found.arms, found.contrasts, found.verdicts) == ((), (), ())
    assert found.differences[0] == "No result yet: a."
