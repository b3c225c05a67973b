"""Arms: short names become recipes, and recipes become questions."""

from pathlib import Path

import pytest

from scans import one_kind, scan_of
from spectrum_ft.comparing.arms import Arm, parse_arms, planned_questions
from spectrum_ft.comparing.plans import parse_match, plan_of
from spectrum_ft.errors import PlanError, RecordError, SpectrumError
from spectrum_ft.planning.making import make_plan
from spectrum_ft.planning.plan_files import plan_to_yaml
from spectrum_ft.planning.presets import PRESETS
from spectrum_ft.records.comparisons import CompareError
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.scans import ScanReport


def model() -> ScanReport:
    """Two kinds of twelve matrices with tables outside the blocks."""
    return scan_of(
        one_kind([float((5 * i) % 12) for i in range(12)])
        + one_kind([float((7 * i) % 12) for i in range(12)], "self_attn.q_proj"),
        others=["model.embed_tokens.weight", "lm_head.weight"],
    )


def arm(name: str) -> Arm:
    (parsed,) = parse_arms([name])
    return parsed


def plan(name: str, seed: int = 0) -> Plan:
    made = plan_of(arm(name), seed, model())
    assert made is not None
    return made


def test_every_preset_is_an_arm() -> None:
    for name in PRESETS:
        parsed = arm(name)
        assert parsed.trains
        assert parsed.request is not None
        assert parsed.request.preset == name


@pytest.mark.parametrize(
    ("name", "preset", "share", "score"),
    [
        ("spectrum-25", "spectrum", 0.25, None),
        ("spectrum-50", "spectrum", 0.5, None),
        ("spectrum-12.5", "spectrum", 0.125, None),
        ("spectrum-qlora-25", "spectrum-qlora", 0.25, None),
        ("spectrum-25:snr_mp", "spectrum", 0.25, "snr_mp"),
        ("hybrid-25:snr_mp", "hybrid", 0.25, "snr_mp"),
        ("top-layers-25", "top-layers", 0.25, None),
        ("qlora-paper", "qlora-paper", None, None),
    ],
)
def test_a_name_is_read_as_preset_share_and_score(
    name: str, preset: str, share: float | None, score: str | None
) -> None:
    request = arm(name).request
    assert request is not None
    assert (request.preset, request.share, request.score) == (preset, share, score)


def test_untrained_arms_differ_in_how_the_model_is_asked() -> None:
    base, shots, votes = parse_arms(["base", "few-shot:5", "votes:16"])
    assert (base.few_shot, base.votes, base.depends_on_seed) == (0, 1, False)
    assert (shots.few_shot, shots.votes, shots.depends_on_seed) == (5, 1, True)
    assert (votes.few_shot, votes.votes, votes.depends_on_seed) == (0, 16, True)
    assert not any(untrained.trains for untrained in (base, shots, votes))
    assert plan_of(base, 0, model()) is None


def test_solved_examples_and_votes_go_together() -> None:
    both = arm("few-shot:4+votes:8")
    assert (both.few_shot, both.votes) == (4, 8)
    with pytest.raises(CompareError, match="one thing twice"):
        arm("votes:4+votes:8")


def test_a_random_arm_draws_anew_with_each_seed_unless_it_names_one() -> None:
    assert plan("random-25", 0).train != plan("random-25", 1).train
    assert (
        plan("random-25:7", 0).train == plan("random-25:7", 1).train == plan("random-25", 7).train
    )


def test_a_scored_arm_has_one_plan_for_all_seeds() -> None:
    assert plan("spectrum-25", 0) == plan("spectrum-25", 1)


def test_controls_train_as_many_weights_as_what_they_control() -> None:
    counts = {
        name: plan(name).counts
        for name in ("spectrum-25", "random-25", "lowest-25", "top-layers-25", "bottom-layers-25")
    }
    assert len({c.train for c in counts.values() if c is not None}) == 1


def test_a_plan_file_is_an_arm_under_its_name_or_another(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    made = make_plan(model()).plan
    file.write_text(plan_to_yaml(made))
    own, other = parse_arms([str(file), f"ours={file}"])
    assert (own.name, other.name) == ("mine", "ours")
    assert own.plan is not None
    assert own.plan.train == other.plan.train == made.train  # type: ignore[union-attr]
    assert own.standing == "candidate"


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("sprectrum-25", CompareError, "did you mean spectrum-25?"),
        ("qlra", CompareError, "did you mean qlora?"),
        ("spectrum-25:snrmp", CompareError, "did you mean snr_mp?"),
        ("spectrum-0", PlanError, "give more than 0 %"),
        ("spectrum-250", PlanError, "at most 100 %"),
        ("qlora-25", PlanError, "leave those options out"),
        ("qlora:3", CompareError, "not chosen by a seed"),
        ("random-25:snr", CompareError, "leave out what follows the colon"),
        ("spectrum-25:3", CompareError, "leave out what follows the colon"),
        ("random-25:-1", CompareError, "scores:"),
        ("few-shot:0", CompareError, "between 1 and 100"),
        ("votes:1", CompareError, "between 2 and 1000"),
        ("few-shot:", CompareError, "few-shot"),
        ("=x.yaml", CompareError, "NAME=FILE"),
        ("x=no-such-file.yaml", RecordError, "cannot be read"),
        ("\x1b[31mred", CompareError, "arms: base"),
        ("", CompareError, "arms: base"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_advice(
    name: str, error: type[SpectrumError], said: str
) -> None:
    with pytest.raises(error) as caught:
        parse_arms([name])
    told = f"{caught.value.message} {caught.value.hint}"
    assert said in told
    assert told.isprintable()


def test_a_plan_file_cannot_pose_as_another_arm(tmp_path: Path) -> None:
    file = tmp_path / "qlora.yaml"
    file.write_text(plan_to_yaml(make_plan(model()).plan))
    for name in (str(file), f"base={file}", f"random-25={file}", f"votes:8={file}"):
        with pytest.raises(CompareError, match="is an arm of its own"):
            parse_arms([name])


def test_an_arm_that_comes_twice_is_refused() -> None:
    with pytest.raises(CompareError, match="comes twice"):
        parse_arms(["base", "qlora", "base"])
    with pytest.raises(CompareError, match="no arm"):
        parse_arms([])


def test_candidates_are_asked_about_qlora_chance_and_what_the_user_names() -> None:
    arms = parse_arms(["base", "spectrum-25", "hybrid-25", "qlora", "lora", "random-25", "full"])
    asked = [(a.arm, a.against) for a in planned_questions(arms, [])]
    assert asked == [
        ("spectrum-25", "qlora"),
        ("spectrum-25", "random-25"),
        ("hybrid-25", "qlora"),
        ("hybrid-25", "random-25"),
    ]
    more = [(a.arm, a.against) for a in planned_questions(arms, ["full", "hybrid-25"])]
    assert ("spectrum-25", "full") in more
    assert ("spectrum-25", "hybrid-25") in more
    assert ("hybrid-25", "hybrid-25") not in more
    with pytest.raises(CompareError, match="--against sgd"):
        planned_questions(arms, ["sgd"])
    with pytest.raises(CompareError, match="no candidate"):
        planned_questions(parse_arms(["qlora", "full"]), ["full"])


def test_matched_params_take_the_largest_share_within_the_leaders_weights() -> None:
    arms = parse_arms(["spectrum-25", "spectrum-50", "random-25"])
    match = parse_match("params:spectrum-50", arms)
    made = [plan_of(one, 0, model(), match=match, forecast_bytes=lambda p: 0) for one in arms]
    weights = [one.counts.train for one in made if one is not None and one.counts is not None]
    assert weights[0] == weights[1] == weights[2] == 12 * 64 * 64  # half of 24 matrices


def test_matched_memory_asks_the_forecast() -> None:
    arms = parse_arms(["spectrum-75", "lora"])
    match = parse_match("memory", arms)  # the first without a share: lora
    assert match.arm.name == "lora"
    sizes = {"lora": 5, "spectrum": 1}

    def forecast_bytes(made: Plan) -> int:
        return sizes[made.policy.name] * max(1, len(made.train))

    made = plan_of(arms[0], 0, model(), match=match, forecast_bytes=forecast_bytes)
    assert made is not None
    assert len(made.train) == 4  # two of each kind: the next share would train six


@pytest.mark.parametrize("text", ["time", "params:nobody", "memory:base", ""])
def test_a_match_with_nothing_is_refused(text: str) -> None:
    with pytest.raises(CompareError, match="--match"):
        parse_match(text, parse_arms(["base", "spectrum-25"]))
