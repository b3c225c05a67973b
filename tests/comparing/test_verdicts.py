"""From trials to sentences: never more than the numbers allow."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from made_comparisons import trained_arm, untrained_arm
from made_finished_trials import SETTINGS, sheet, trained
from made_trials import arm, evaluation
from spectrum_ft.comparing.concluding import conclude
from spectrum_ft.comparing.tables import ArmTrials
from spectrum_ft.comparing.verdicts import verdicts
from spectrum_ft.records.comparisons import Asked, Comparison, Contrast
from spectrum_ft.records.evaluations import EvalSettings

GOOD, BAD = [sheet(150), sheet(152), sheet(151)], [sheet(70), sheet(72), sheet(71)]


def asked(name: str, against: str) -> Asked:
    """Whether `name` is better than `against`."""
    return Asked(question=f"Is {name} better than {against}?", arm=name, against=against)


def concluded(arms: Sequence[ArmTrials], *questions: Asked) -> Comparison:
    """What these trials come to."""
    return conclude("model", SETTINGS, arms, questions)


def contrast(p: float, p_adjusted: float) -> Contrast:
    """A difference of 4.2 points whose interval excludes 0."""
    return Contrast(
        asked=asked("a", "b"),
        metric="accuracy",
        difference=0.042,
        low=0.011,
        high=0.073,
        p=p,
        p_adjusted=p_adjusted,
        seeds=3,
        examples=200,
        models_low=0.0,
        models_high=0.1,
        finding="better" if p_adjusted < 0.05 else "no difference shown",
    )


def test_a_difference_that_is_shown_is_claimed_with_what_it_rests_on() -> None:
    assert verdicts((), [contrast(0.01, 0.02)], before=None) == (
        "a is better than b: +4.2 points of accuracy "
        "(95 % interval +1.1 to +7.3, p 0.02 corrected, 3 seeds, 200 questions).",
    )


def test_an_interval_without_0_is_no_claim_where_the_corrected_p_is_large() -> None:
    (said,) = verdicts((), [contrast(0.02, 0.08)], before=None)
    assert said.startswith("No difference shown between a and b: +4.2 points")
    assert "taken alone its interval excludes 0, corrected for all questions it does not" in said


def test_a_planted_difference_is_told_in_both_directions() -> None:
    arms = [trained("good", GOOD), trained("bad", BAD)]
    found = concluded(arms, asked("good", "bad"), asked("bad", "good"))
    assert [c.finding for c in found.contrasts] == ["better", "worse"]
    assert found.contrasts[0].difference == pytest.approx(0.4, abs=1e-12)
    assert "good is better than bad: +40.0 points" in found.verdicts[0]
    assert "bad is worse than good: -40.0 points" in found.verdicts[1]


def test_one_seed_cannot_tell() -> None:
    found = concluded([trained("a", GOOD[:1]), trained("b", BAD)], asked("a", "b"))
    assert found.contrasts[0].finding == "cannot be told"
    assert found.verdicts[0] == "This comparison is too small to decide anything: 1 seed."
    assert found.verdicts[1] == (
        "Whether a is better than b cannot be told from one seed: "
        "+40.0 points of accuracy (1 seed, 200 questions)."
    )


def test_one_question_cannot_tell_either() -> None:
    found = concluded([trained("a", [[1]] * 3), trained("b", [[0]] * 3)], asked("a", "b"))
    assert found.verdicts[1] == (
        "Whether a is better than b cannot be told from one question: "
        "+100.0 points of accuracy (3 seeds, 1 question)."
    )


def test_two_questions_without_any_variance_prove_nothing() -> None:
    found = concluded([trained("a", [[1, 1]] * 3), trained("b", [[0, 0]] * 3)], asked("a", "b"))
    assert found.contrasts[0].p == 0.5
    assert found.contrasts[0].finding == "cannot be told"


def test_what_is_too_small_to_decide_decides_nothing_however_small_its_p() -> None:
    arms = [trained("a", [sheet(199)] * 2), trained("b", [sheet(1)] * 2)]
    found = concluded(arms, asked("a", "b"))
    (accuracy,) = found.contrasts
    assert accuracy.p is not None
    assert accuracy.p < 1e-6
    assert accuracy.finding == "cannot be told"
    assert "Whether a is better than b cannot be told from 2 seeds" in found.verdicts[1]
    assert accuracy.high is not None
    assert accuracy.high <= 1.0


def test_survivors_of_an_arm_that_came_to_nothing_prove_nothing() -> None:
    good = trained("a", [sheet(190)] * 5)
    failed = replace(good.trials[4], run=None, evaluation=None, failure="the loss is not finite")
    arms = [replace(good, trials=(*good.trials[:4], failed)), trained("b", [sheet(20)] * 5)]
    found = concluded(arms, asked("a", "b"))
    assert found.contrasts[0].finding == "cannot be told"
    assert found.verdicts[0] == "a came to nothing with 1 of 5 seeds."
    assert "cannot be told since training of a came to nothing" in found.verdicts[1]
    assert found.arms[0].failed == (4,)


def test_questions_that_were_added_later_are_told() -> None:
    arms = [trained("a", GOOD), trained("b", BAD)]
    sittings = ("3 seeds and 1 questions", "5 seeds and 1 questions")
    found = conclude("model", SETTINGS, arms, (asked("a", "b"),), sittings)
    assert found.differences[0].startswith("What was asked changed after results had been seen")


def test_few_seeds_questions_and_steps_are_said_to_decide_nothing() -> None:
    arms = [trained(name, [sheet(4, 6)] * 2, steps=3) for name in ("a", "b")]
    assert concluded(arms, asked("a", "b")).verdicts[0] == (
        "This comparison is too small to decide anything: 2 seeds, 6 questions, 3 steps."
    )


def test_accuracy_that_no_arm_has_is_not_informative() -> None:
    arms = [trained("a", [sheet(9)] * 3), trained("b", [sheet(2)] * 3)]
    assert "Accuracy is not informative here" in concluded(arms, asked("a", "b")).verdicts[0]
    arms = [trained("a", [sheet(10)] * 3), trained("b", [sheet(2)] * 3)]
    assert "not informative" not in "".join(concluded(arms, asked("a", "b")).verdicts)


def test_before_and_after_starts_at_the_model_as_it_is() -> None:
    shots = EvalSettings(data="test.jsonl", few_shot=2, examples="train.jsonl")
    prompted = arm("few-shot:2", [evaluation(row, settings=shots) for row in BAD])
    base = arm("base", [evaluation(sheet(24))])
    arms = [prompted, base, trained("a", GOOD), trained("b", BAD)]
    found = concluded(arms, asked("a", "b"))
    assert "From 12.0 % (base) to 75.5 % (a) correct." in found.verdicts
    without = concluded([prompted, *arms[2:]], asked("a", "b"))
    assert not any(said.startswith("From") for said in without.verdicts)


def test_the_base_pairs_with_every_seed() -> None:
    base = arm("base", [evaluation(sheet(24))])
    (found,) = concluded([base, trained("a", GOOD)], asked("a", "base")).contrasts
    assert (found.seeds, found.finding) == (3, "better")


def test_costs_are_ratios_to_the_first_rival() -> None:
    ours = trained_arm("a", 0.8, 1.0, mib=100, step_seconds=1.0, trained=1000)
    rival = trained_arm("b", 0.7, 1.0, mib=200, step_seconds=4.0, trained=0, adapter_weights=4000)
    (_, said) = verdicts([ours, rival], [contrast(0.01, 0.02)], before=None)
    assert said == (
        "a takes 0.25 times the time of b, 0.50 times its memory, "
        "and updates 0.25 times its weights."
    )
    ours = replace(ours, trained=1_200_000)
    assert verdicts([ours, rival], [contrast(0.01, 0.02)], before=None)[1].endswith(
        "updates 300 times its weights."
    )


def test_an_arm_that_does_not_train_has_no_cost_sentence() -> None:
    results = [trained_arm("a", 0.8, 1.0, mib=1, step_seconds=1.0), untrained_arm("b", 0.1, 4.0)]
    assert len(verdicts(results, [contrast(0.01, 0.02)], before=None)) == 1


def test_without_accuracy_the_sentences_are_about_the_loss() -> None:
    def lossy(name: str, each: float) -> ArmTrials:
        losses = [each + 0.01 * (place % 7) for place in range(200)]
        return arm(name, [evaluation(losses=losses)] * 3)

    arms = [lossy("a", 1.0), lossy("b", 1.5)]
    found = concluded(arms, asked("a", "b"))
    assert [c.metric for c in found.contrasts] == ["loss"]
    assert "a is better than b: -0.5000 nats of loss" in " ".join(found.verdicts)


def test_holm_corrects_over_the_questions_of_a_metric() -> None:
    arms = [trained("a", GOOD), trained("b", BAD), trained("c", GOOD)]
    found = concluded(arms, asked("a", "b"), asked("a", "c")).contrasts
    assert found[0].p is not None
    assert found[0].p_adjusted == pytest.approx(2.0 * found[0].p)
    assert found[1].p_adjusted == 1.0
