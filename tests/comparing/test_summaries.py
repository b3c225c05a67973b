"""What comes of an arm: estimates, costs, and who is beaten in everything."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from made_comparisons import trained_arm, untrained_arm
from made_finished_trials import rate_trial, run, sheet, trained
from made_trials import arm, evaluation
from spectrum_ft.comparing.summaries import mark_dominated, summarise
from spectrum_ft.comparing.tables import ArmTrials


def test_one_trial_has_wilsons_interval() -> None:
    found = summarise(arm("base", [evaluation(sheet(30))])).accuracy
    expected = stats.binomtest(30, 200).proportion_ci(method="wilson")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (found.mean, found.values) == (0.15, (0.15,))


def test_seeds_that_all_answer_everything_still_leave_room_for_doubt() -> None:
    found = summarise(trained("a", [sheet(200)] * 3)).accuracy
    assert found is not None
    assert found.low == pytest.approx(stats.binomtest(200, 200).proportion_ci(method="wilson").low)
    assert found.high == 1.0


def test_equal_seeds_leave_the_examples_interval() -> None:
    found = summarise(trained("a", [sheet(120)] * 3)).accuracy
    expected = stats.ttest_1samp(np.array(sheet(120), dtype=float), 0.0).confidence_interval()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_an_interval_of_a_share_stays_within_0_and_1() -> None:
    found = summarise(trained("a", [sheet(1), sheet(190)])).accuracy
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_loss_is_the_mean_over_tokens_and_not_over_questions() -> None:
    one = evaluation(losses=[8.0, 1.0, 3.0], tokens=[8, 1, 1])
    found = summarise(arm("base", [one])).loss
    assert found is not None
    assert found.mean == pytest.approx(12.0 / 10.0, rel=1e-12)
    assert found.low is not None
    assert found.low < found.mean


def test_one_question_tells_a_loss_but_no_interval_of_it() -> None:
    found = summarise(arm("base", [evaluation(losses=[2.0])])).loss
    assert found is not None
    assert (found.mean, found.low, found.high) == (2.0, None, None)


def test_costs_come_from_the_runs() -> None:
    made = trained("a", [sheet(100)] * 3, rates=[rate_trial("a", 1e-4, 0.5)])
    runs = (run(seconds=10.0, tokens=1000), run(seconds=30.0, peak_memory_bytes=2 * 10**9))
    trials = tuple(replace(t, run=r) for t, r in zip(made.trials, (*runs, run()), strict=True))
    found = summarise(replace(made, trials=trials))
    assert found.seconds == 10.0
    assert found.tokens_per_second == pytest.approx(100.0)
    assert found.peak_memory_bytes == 2 * 10**9
    assert [(rate.lr, rate.loss) for rate in found.rates] == [(1e-4, 0.5)]
    assert (found.lr, found.lora_lr) == (2e-5, None)
    assert (found.trained, found.total, found.steps) == (1000, 4000, 100)


def test_an_arm_that_does_not_train_costs_nothing() -> None:
    found = summarise(arm("base", [evaluation(sheet(3))]))
    costs = (found.seconds, found.tokens_per_second, found.peak_memory_bytes, found.steps)
    assert costs == (None, None, None, None)
    assert (found.lr, found.trained, found.total, found.layers) == (None, 0, None, ())


def test_layers_count_matrices_and_neither_norms_nor_embeddings() -> None:
    others = ("model.layers.0.input_layernorm.weight", "model.embed_tokens.weight")
    found = summarise(trained("a", [sheet(1)], train=run().plan.train + others))
    assert (found.layers, found.lowest_layer) == ((0, 1, 0, 2), 1)
    assert summarise(trained("a", [sheet(1)], train=others)).layers == ()
    assert summarise(trained("a", [sheet(1)], train=(), lora=True)).layers == ()


def test_trials_that_are_not_evaluated_have_no_estimates() -> None:
    made = trained("a", [sheet(1)])
    bare = ArmTrials(name="a", trials=(replace(made.trials[0], evaluation=None),))
    found = summarise(bare)
    assert (found.accuracy, found.loss, found.seconds) == (None, None, 10.0)


def test_only_what_is_beaten_in_everything_is_dominated() -> None:
    best = trained_arm("best", 0.8, 1.0, mib=100, step_seconds=1.0)
    tie = replace(best, name="tie")
    slower = trained_arm("slower", 0.8, 1.0, mib=100, step_seconds=2.0)
    small = trained_arm("small", 0.1, 3.0, mib=50, step_seconds=3.0)
    base = untrained_arm("base", 0.05, 4.0)
    marked = mark_dominated([best, tie, slower, small, base])
    assert [one.name for one in marked if one.dominated] == ["slower"]


def test_without_accuracy_the_lower_loss_counts() -> None:
    low = replace(trained_arm("low", 0.5, 1.0, mib=1, step_seconds=1.0), accuracy=None)
    high = replace(trained_arm("high", 0.5, 2.0, mib=1, step_seconds=1.0), accuracy=None)
    assert [one.dominated for one in mark_dominated([high, low])] == [True, False]
    # An arm that was measured otherwise is not held against them.
    other = trained_arm("other", 0.5, 9.0, mib=1, step_seconds=1.0)
    assert [one.dominated for one in mark_dominated([other, low])] == [False, False]
