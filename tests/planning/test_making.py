"""Plans made from scans: what is chosen, in what order, and what it adds up to."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scans import matrix, one_kind, scan_of
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.presets import PRESETS
from spectrum_ft.records.scans import ScanReport

UP = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(10)]


def small_model(layers: int = 10) -> ScanReport:
    """Two kinds of `layers` matrices with clear scores, norms, embeddings and a head."""
    scores = [float((7 * i) % layers) for i in range(layers)]
    return scan_of(
        one_kind(scores) + one_kind([-s for s in scores], "self_attn.q_proj"),
        vectors=[f"model.layers.{i}.input_layernorm.weight" for i in range(layers)],
        others=["model.embed_tokens.weight", "lm_head.weight"],
    )


def test_the_best_of_each_kind_train_best_first() -> None:
    plan = make_plan(scan_of(one_kind([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]))).plan
    assert plan.train == (UP[5], UP[7])


@pytest.mark.parametrize(
    ("share", "count", "taken"),
    [
        (0.25, 30, 8),  # 7.5 rounds up
        (0.25, 10, 3),  # 2.5 rounds up, never to even
        (0.25, 9, 2),
        (0.35, 10, 4),  # 3.5 in decimal, 3.4999... in binary
        (0.01, 10, 1),  # never none
        (1.0, 7, 7),
    ],
)
def test_a_share_is_rounded_half_up_and_never_to_nothing(
    share: float, count: int, taken: int
) -> None:
    report = scan_of(one_kind([float(i) for i in range(count)]))
    assert len(make_plan(report, PlanRequest(share=share)).plan.train) == taken


def test_ties_keep_the_order_of_the_checkpoint() -> None:
    plan = make_plan(scan_of(one_kind([1.0] * 8)), PlanRequest(share=0.5)).plan
    assert plan.train == tuple(UP[:4])


def test_an_unbounded_score_ranks_above_every_finite_one() -> None:
    report = scan_of(
        [
            matrix(UP[0], 1e300),
            matrix(UP[1], None, flags=["saturated"]),
            matrix(UP[2], 5.0),
            matrix(UP[3], None, flags=["saturated"]),
        ]
    )
    assert make_plan(report, PlanRequest(share=0.75)).plan.train == (UP[1], UP[3], UP[0])


def test_a_score_that_is_missing_is_refused_with_the_way_to_get_it() -> None:
    report = scan_of(one_kind([1.0, 2.0, 3.0, 4.0]))
    with pytest.raises(PlanError, match="has no condition") as caught:
        make_plan(report, PlanRequest(score="condition"))
    assert caught.value.hint is not None
    assert "--score condition" in caught.value.hint


def test_a_low_condition_number_ranks_first() -> None:
    matrices = [
        matrix(name, 1.0, others={"condition": value})
        for name, value in zip(UP, [9.0, 2.0, 5.0, 7.0], strict=False)
    ]
    plan = make_plan(scan_of(matrices), PlanRequest(score="condition", share=0.5)).plan
    assert plan.train == (UP[1], UP[2])
    assert plan.policy.score == "condition"


def test_a_singular_matrix_comes_last_by_condition() -> None:
    values = [None, 2.0, 5.0, 7.0]
    matrices = [
        matrix(name, 1.0, others={"condition": value})
        for name, value in zip(UP, values, strict=False)
    ]
    plan = make_plan(scan_of(matrices), PlanRequest(score="condition", share=1.0)).plan
    assert plan.train == (UP[1], UP[2], UP[3], UP[0])


def test_thin_matrices_are_chosen_by_the_reference_preset_alone() -> None:
    matrices = one_kind([1.0, 2.0, 3.0, 4.0, 99.0])
    matrices[4] = matrix(UP[4], 99.0, shape=(8, 64), flags=["thin"])
    report = scan_of(matrices)
    assert UP[4] not in make_plan(report, PlanRequest(share=1.0)).plan.train
    reference = make_plan(report, PlanRequest(preset="reference", share=0.5)).plan
    assert reference.train == (UP[4], UP[3])


def test_kinds_of_fewer_than_four_have_no_share_to_take() -> None:
    report = scan_of(one_kind([1.0, 2.0, 3.0, 4.0]) + one_kind([9.0, 9.0, 9.0], "mlp.down_proj"))
    assert make_plan(report, PlanRequest(share=0.5)).plan.train == (UP[3], UP[2])
    with pytest.raises(PlanError, match="no kind has 4") as caught:
        make_plan(scan_of(one_kind([1.0, 2.0])))
    assert "--scope overall" in str(caught.value.hint)


def test_the_overall_scope_takes_the_same_rank_of_each_kind_small_ones_included() -> None:
    report = scan_of(one_kind([float(i) for i in range(8)]) + one_kind([1.0, 2.0], "mlp.down_proj"))
    planned = make_plan(report, PlanRequest(share=0.5, scope="overall"))
    taken = {choice.kind: choice.taken for choice in planned.choices}
    assert taken == {"mlp.up_proj": 4, "mlp.down_proj": 1}
    assert "model.layers.1.mlp.down_proj.weight" in planned.plan.train


def test_the_experts_of_a_block_are_chosen_together_by_their_mean() -> None:
    matrices = [
        matrix(f"model.layers.{layer}.mlp.experts.{e}.w1.weight", score)
        for layer, scores in enumerate([(1.0, 9.0), (4.0, 4.0), (6.0, 6.0), (0.0, 1.0)])
        for e, score in enumerate(scores)
    ]
    plan = make_plan(scan_of(matrices), PlanRequest(share=0.25)).plan
    assert plan.train == tuple(f"model.layers.2.mlp.experts.{e}.w1.weight" for e in range(2))


def test_embeddings_head_and_norms_train_only_when_named() -> None:
    report = small_model()
    bare = make_plan(report).plan
    assert not [name for name in bare.train if "embed" in name or "head" in name or "norm" in name]
    roles = make_plan(report, PlanRequest(train_roles=("embedding", "head", "norm"))).plan
    extra = set(roles.train) - set(bare.train)
    norms = {f"model.layers.{i}.input_layernorm.weight" for i in range(10)}
    assert extra == norms | {"model.embed_tokens.weight", "lm_head.weight"}
    assert bare.counts is not None
    assert roles.counts is not None
    assert roles.counts.train - bare.counts.train == 10 * 64 + 2 * 64_000


def test_a_norms_bias_goes_with_its_weight_and_other_biases_do_not() -> None:
    report = scan_of(
        one_kind([1.0, 2.0, 3.0, 4.0]),
        vectors=["h.0.ln_1.weight", "h.0.ln_1.bias", "h.0.attn.c_attn.bias"],
    )
    train = make_plan(report, PlanRequest(train_roles=("norm",))).plan.train
    assert {"h.0.ln_1.weight", "h.0.ln_1.bias"} <= set(train)
    assert "h.0.attn.c_attn.bias" not in train


def test_a_head_that_is_tied_trains_with_the_embeddings_and_says_so() -> None:
    report = scan_of(one_kind([1.0, 2.0, 3.0, 4.0]), others=["model.embed_tokens.weight"])
    planned = make_plan(report, PlanRequest(train_roles=("head",)))
    assert planned.tied_head
    assert "model.embed_tokens.weight" in planned.plan.train


def test_counts_add_up_to_the_whole_model() -> None:
    counts = make_plan(small_model()).plan.counts
    assert counts is not None
    assert counts.train == 6 * 64 * 64
    assert counts.total == 20 * 64 * 64 + 10 * 64 + 2 * 64_000
    assert counts.train + counts.frozen == counts.total


def test_full_trains_every_tensor_and_takes_no_share() -> None:
    report = small_model()
    plan = make_plan(report, PlanRequest(preset="full")).plan
    assert set(plan.train) == set(report.shapes)
    assert plan.counts is not None
    assert plan.counts.frozen == 0
    with pytest.raises(PlanError, match="trains everything"):
        PlanRequest(preset="full", share=0.5)


@pytest.mark.parametrize("preset", ["spectrum", "lowest", "random", "top-layers", "bottom-layers"])
def test_controls_train_as_many_weights_as_spectrum_does(preset: str) -> None:
    report = small_model()
    plan = make_plan(report, PlanRequest(preset=preset)).plan
    reference = make_plan(report).plan
    assert plan.counts == reference.counts
    assert plan.policy.name == preset


def test_each_control_takes_what_its_name_says() -> None:
    report = scan_of(one_kind([3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0]))

    def trained(preset: str) -> tuple[str, ...]:
        return make_plan(report, PlanRequest(preset=preset)).plan.train

    assert trained("lowest") == (UP[1], UP[3])
    assert trained("top-layers") == (UP[7], UP[6])
    assert trained("bottom-layers") == (UP[0], UP[1])


def test_a_seed_decides_a_random_plan_whatever_the_score() -> None:
    report = small_model()
    first = make_plan(report, PlanRequest(preset="random", seed=1)).plan.train
    assert make_plan(report, PlanRequest(preset="random", seed=1)).plan.train == first
    others = {make_plan(report, PlanRequest(preset="random", seed=s)).plan.train for s in range(9)}
    assert len(others) > 5
    rescored = replace(
        report,
        matrices=tuple(
            replace(m, scores={"snr": -(m.scores["snr"] or 0.0)}) for m in report.matrices
        ),
    )
    again = make_plan(rescored, PlanRequest(preset="random", seed=1)).plan.train
    assert set(again) == set(first)


def test_globs_choose_and_spare_kinds_by_whole_names() -> None:
    report = small_model()
    only = make_plan(report, PlanRequest(kinds=["mlp.*"])).plan.train
    assert all(".mlp." in name for name in only)
    spared = make_plan(report, PlanRequest(exclude=["self_attn.q_proj"])).plan.train
    assert spared == only
    with pytest.raises(PlanError, match="no kind matches 'mlp'"):
        make_plan(report, PlanRequest(kinds=["mlp"]))  # a part of a name is not a match
    with pytest.raises(PlanError, match="no matrix is left"):
        make_plan(report, PlanRequest(exclude=["*"]))


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(small_model(), PlanRequest(kinds=["self_attn.q_prj"]))
    assert caught.value.hint == "did you mean self_attn.q_proj?"


@pytest.mark.parametrize("share", [0.0, -0.05, 1.01, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(PlanError, match="a share of"):
        PlanRequest(share=share)


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(PlanError) as caught:
        PlanRequest(preset="sprectrum")
    assert all(preset in str(caught.value.hint) for preset in PRESETS)


@given(
    scores=st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=40),
    share=st.floats(0.01, 1.0),
)
@settings(derandomize=True, max_examples=150, deadline=None)
def test_nothing_left_out_scores_better_than_anything_taken(
    scores: list[float], share: float
) -> None:
    planned = make_plan(scan_of(one_kind(list(scores))), PlanRequest(share=share))
    (choice,) = planned.choices
    taken = [unit.value for unit in choice.chosen]
    left = [unit.value for unit in choice.order[choice.taken :]]
    assert len(taken) >= 1
    assert not left or min(taken) >= max(left)
    if left:
        assert choice.margin is not None
        assert 0.0 <= choice.margin <= 2.0


def experts(skipped: tuple[int, int] | None = None) -> ScanReport:
    """Four layers of three experts, one of them perhaps without a score."""
    names = [
        (layer, e, f"model.layers.{layer}.mlp.experts.{e}.w1.weight")
        for layer in range(5)
        for e in range(3)
    ]
    return scan_of(
        [matrix(name, float(layer)) for layer, e, name in names if (layer, e) != skipped],
        others=[name for layer, e, name in names if (layer, e) == skipped],
    )


def test_a_block_with_an_expert_that_cannot_be_chosen_is_not_a_candidate() -> None:
    train = make_plan(experts(skipped=(4, 1)), PlanRequest(share=0.25)).plan.train
    assert train == tuple(f"model.layers.3.mlp.experts.{e}.w1.weight" for e in range(3))


def test_experts_that_load_as_one_cannot_be_split() -> None:
    with pytest.raises(PlanError, match="together or not at all"):
        make_plan(experts(), PlanRequest(exclude=["*.experts.1.*"]))
    left = make_plan(experts(), PlanRequest(exclude=["model.layers.4.*"])).plan.train
    assert left[0].startswith("model.layers.3.")


def test_a_plan_records_the_score_that_ranked_and_no_other() -> None:
    report = small_model()
    for preset in ("random", "top-layers", "bottom-layers", "full"):
        assert make_plan(report, PlanRequest(preset=preset)).plan.policy.score is None
    assert make_plan(report, PlanRequest(preset="reference")).plan.policy.score == "snr"
    for options in ({"score": "condition"}, {"scope": "overall"}):
        with pytest.raises(PlanError, match="ranks by snr"):
            PlanRequest(preset="reference", **options)  # type: ignore[arg-type]  # one of two


def test_exclusions_hold_for_what_is_named_and_for_constant_lines_too() -> None:
    report = small_model()
    spared = make_plan(report, PlanRequest(train_roles=("norm",), exclude=["*layernorm*"])).plan
    assert not [name for name in spared.train if "norm" in name]
    options = PlanRequest(preset="reference", exclude=["lm_head", "model.embed_tokens"])
    assert not [n for n in make_plan(report, options).plan.train if "head" in n or "embed" in n]
    with pytest.raises(PlanError, match="no kind or tensor matches 'nosuch'"):
        make_plan(report, PlanRequest(exclude=["nosuch"]))
