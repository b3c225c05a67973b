"""Presets with adapters: which matrices carry one, in what order, and what they weigh."""

from typing import Any

import pytest

from scans import matrix, one_kind, scan_of
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.making import Planned, PlanRequest, make_plan
from spectrum_ft.records.plans import LoraSettings, Plan
from spectrum_ft.records.scans import ScanReport

UP = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(8)]
Q = [name.replace("mlp.up_proj", "self_attn.q_proj") for name in UP]
SCORES = [3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0]


def model() -> ScanReport:
    """Two kinds of eight layers, norms, embeddings and a head."""
    return scan_of(
        one_kind(list(SCORES)) + one_kind(list(reversed(SCORES)), "self_attn.q_proj"),
        vectors=[f"model.layers.{i}.input_layernorm.weight" for i in range(8)],
        others=["model.embed_tokens.weight", "lm_head.weight"],
    )


def mixture(layers: int = 4, experts: int = 2) -> ScanReport:
    """Blocks with an attention matrix, a router and numbered experts in Mixtral's spelling."""
    matrices = []
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        matrices.append(matrix(f"{prefix}.self_attn.q_proj.weight", float(layer)))
        matrices.append(matrix(f"{prefix}.block_sparse_moe.gate.weight", 1.0, shape=(32, 64)))
        matrices += [
            matrix(f"{prefix}.block_sparse_moe.experts.{e}.{part}.weight", float(layer))
            for e in range(experts)
            for part in ("w1", "w2", "w3")
        ]
    return scan_of(matrices)


def planned(preset: str, report: ScanReport | None = None, **options: Any) -> Planned:
    return make_plan(report or model(), PlanRequest(preset=preset, **options))


def adapters(plan: Plan) -> LoraSettings:
    assert plan.lora is not None
    return plan.lora


@pytest.mark.parametrize(("preset", "base"), [("lora", "as-is"), ("qlora", "nf4")])
def test_lora_puts_adapters_on_every_linear_matrix_and_trains_nothing_in_full(
    preset: str, base: str
) -> None:
    plan = planned(preset).plan
    assert plan.train == ()
    assert plan.base == base
    assert set(adapters(plan).matrices) == {*UP, *Q}
    assert (adapters(plan).r, adapters(plan).alpha, adapters(plan).dropout) == (16, 32.0, 0.05)
    assert plan.policy.share is None
    assert plan.policy.score is None
    assert plan.counts is not None
    assert plan.counts.train == 0
    assert plan.counts.lora == 16 * 16 * (64 + 64)  # matrices x r x (m + n)
    assert plan.counts.frozen == plan.counts.total


def test_the_papers_qlora_trains_embeddings_and_head_as_well() -> None:
    plan = planned("qlora-paper").plan
    assert set(plan.train) == {"model.embed_tokens.weight", "lm_head.weight"}
    assert (adapters(plan).r, adapters(plan).alpha, adapters(plan).dropout) == (32, 16.0, 0.05)
    assert plan.base == "nf4"
    tied = planned("qlora-paper", scan_of(one_kind([1.0]), others=["model.embed_tokens.weight"]))
    assert tied.tied_head
    assert tied.plan.train == ("model.embed_tokens.weight",)


def test_spectrum_qlora_puts_adapters_on_what_spectrum_would_train() -> None:
    plan = planned("spectrum-qlora").plan
    assert plan.train == ()
    assert adapters(plan).matrices == planned("spectrum").plan.train
    assert plan.base == "nf4"
    assert plan.policy.share == 0.25


def test_the_hybrid_trains_the_picked_and_adapts_the_rest_best_first() -> None:
    plan = planned("hybrid", share=0.5).plan
    assert plan.train == planned("spectrum", share=0.5).plan.train
    order = sorted(range(8), key=lambda i: -SCORES[i])
    assert adapters(plan).matrices[:4] == tuple(UP[i] for i in order[4:])
    assert set(adapters(plan).matrices) == {*UP, *Q} - set(plan.train)
    assert plan.base == "nf4"
    assert planned("hybrid", share=1.0).plan.lora is None  # nothing is left to adapt


def test_a_preset_is_a_set_of_values_that_options_give_as_well() -> None:
    qlora = planned("lora", base="nf4").plan
    assert (qlora.lora, qlora.base) == (planned("qlora").plan.lora, "nf4")
    hybrid = planned("spectrum", base="nf4", lora="rest").plan
    assert (hybrid.train, hybrid.lora) == (
        planned("hybrid").plan.train,
        planned("hybrid").plan.lora,
    )
    picked = planned("spectrum", base="nf4", lora="picked").plan
    assert picked.lora == planned("spectrum-qlora").plan.lora
    bare = planned("hybrid", lora="none").plan
    assert bare.lora is None
    assert bare.train == hybrid.train
    own = adapters(planned("lora", lora_r=4, lora_alpha=8.0, lora_dropout=0.0).plan)
    assert (own.r, own.alpha, own.dropout) == (4, 8.0, 0.0)


def test_controls_take_adapters_too() -> None:
    plan = planned("random", lora="picked", seed=3).plan
    assert adapters(plan).matrices == planned("random", seed=3).plan.train


def test_experts_and_routers_carry_no_adapter_and_that_is_known() -> None:
    lora = planned("lora", mixture())
    assert set(adapters(lora.plan).matrices) == {
        f"model.layers.{i}.self_attn.q_proj.weight" for i in range(4)
    }
    assert lora.bare_experts
    assert not planned("lora").bare_experts
    hybrid = planned("hybrid", mixture()).plan
    assert any("experts" in name for name in hybrid.train)
    assert not any("experts" in name for name in adapters(hybrid).matrices)
    picked = planned("spectrum-qlora", mixture()).plan
    assert adapters(picked).matrices == ("model.layers.3.self_attn.q_proj.weight",)


def test_a_gate_of_a_model_without_experts_is_a_matrix_like_any_other() -> None:
    report = scan_of(one_kind([1.0, 2.0, 3.0, 4.0], "mlp.gate"))
    assert len(adapters(planned("lora", report).plan).matrices) == 4


def test_globs_hold_for_adapters() -> None:
    assert set(adapters(planned("lora", kinds=["mlp.*"]).plan).matrices) == set(UP)
    spared = planned("lora", exclude=["model.layers.0.*", "self_attn.q_proj"]).plan
    assert set(adapters(spared).matrices) == set(UP[1:])
    with pytest.raises(PlanError, match="no kind matches 'mlp'"):
        planned("lora", kinds=["mlp"])
    with pytest.raises(PlanError, match="no matrix is left to carry"):
        planned("lora", exclude=["mlp.*", "self_attn.*"])


def test_adapters_reach_as_deep_as_they_sit() -> None:
    top = planned("top-layers", lora="picked")
    assert top.lowest_layer == 6
    assert planned("lora").lowest_layer == 0


def test_an_imported_result_has_adapters_without_counts() -> None:
    from spectrum_ft.planning.published import parse_published

    rows = ", ".join(
        f'"model.layers.{i}.{kind}": {{"snr": {i}, "type": "x"}}'
        for kind in ("mlp.up_proj", "input_layernorm")
        for i in range(4)
    )
    report = parse_published(f"{{{rows}}}".encode(), "published.json")
    plan = planned("spectrum-qlora", report).plan
    assert adapters(plan).matrices == ("model.layers.3.mlp.up_proj.weight",)
    assert plan.counts is None
    assert len(adapters(planned("qlora", report).plan).matrices) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "lora", "lora_r": 0}, "rank of 0"),
        ({"preset": "lora", "lora_r": -3}, "rank of -3"),
        ({"preset": "lora", "lora_alpha": 0.0}, "alpha of 0"),
        ({"preset": "lora", "lora_alpha": float("nan")}, "alpha of nan"),
        ({"preset": "lora", "lora_alpha": float("inf")}, "alpha of inf"),
        ({"preset": "lora", "lora_dropout": 1.0}, "dropout of 1"),
        ({"preset": "lora", "lora_dropout": -0.1}, "dropout of -0.1"),
        ({"preset": "spectrum", "lora_r": 8}, "nothing gets one"),
        ({"preset": "hybrid", "lora": "none", "lora_alpha": 8.0}, "nothing gets one"),
        ({"preset": "lora", "share": 0.5}, "ranks nothing"),
        ({"preset": "lora", "score": "snr"}, "ranks nothing"),
        ({"preset": "lora", "lora": "picked"}, "does not choose matrices"),
        ({"preset": "reference", "lora": "picked"}, "does not choose matrices"),
        ({"preset": "full", "lora": "rest"}, "leaves no matrix"),
        ({"preset": "full", "base": "nf4"}, "leaves no matrix"),
    ],
)
def test_what_cannot_be_honoured_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        PlanRequest(**options)
    assert caught.value.hint


def test_a_rank_above_every_matrix_and_a_plan_of_nothing_are_refused() -> None:
    with pytest.raises(PlanError, match="of rank 65 are no smaller"):
        planned("lora", lora_r=65)
    with pytest.raises(PlanError, match="train nothing"):
        planned("lora", lora="none")
    assert planned("lora", lora="none", train_roles=("head",)).plan.train == ("lm_head.weight",)
