"""Experts stacked in one tensor: scored slice by slice, planned, counted and named as one."""

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from scans import matrix, scan_of
from spectrum_ft.errors import PlanError, RecordError
from spectrum_ft.forecasting.keeping import OPTIMIZERS, state_bytes
from spectrum_ft.memory import TrainingShape, forecast, forecasts
from spectrum_ft.planning.budgets import fit_plan, params_budget, vram_budget
from spectrum_ft.planning.exports import export_plan
from spectrum_ft.planning.making import Planned, PlanRequest, make_plan
from spectrum_ft.record_files import to_json
from spectrum_ft.records.scans import ScannedMatrix, ScanReport, SkippedTensor
from spectrum_ft.scan_files import read_scan
from spectrum_ft.summaries import summarize_kinds
from stacks import report_of, stack, stacked_mixture

GATE_UP = [f"model.layers.{i}.mlp.experts.gate_up_proj" for i in range(4)]
DOWN = [f"model.layers.{i}.mlp.experts.down_proj" for i in range(4)]
SIZES = {"gate_up": 4 * 64 * 192, "down": 4 * 96 * 64, "q": 64 * 64}


def planned(report: ScanReport | None = None, **options: Any) -> Planned:
    return make_plan(report or stacked_mixture(), PlanRequest(**options))


def test_a_stack_is_one_unit_scored_by_the_mean_of_its_slices() -> None:
    made = planned()
    kinds = {choice.kind: choice for choice in made.choices}
    assert set(kinds) == {"self_attn.q_proj", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"}
    gate_up, down = kinds["mlp.experts.gate_up_proj"], kinds["mlp.experts.down_proj"]
    assert [unit.names for unit in gate_up.order] == [(name,) for name in reversed(GATE_UP)]
    assert [unit.names for unit in down.order] == [(name,) for name in DOWN]
    # Layer 3's slices score 3, 3.25, 3.5 and 3.75.
    assert gate_up.order[0].value == pytest.approx(3.375, rel=1e-12)
    assert made.plan.train.count(GATE_UP[3]) == made.plan.train.count(DOWN[0]) == 1
    assert len(made.plan.train) == 3


def test_a_plan_counts_the_whole_tensor_once() -> None:
    counts = planned(share=0.5).plan.counts
    assert counts is not None
    assert counts.train == 2 * sum(SIZES.values())
    biases_and_routers = 4 * (4 * 64 + 4 * 64)
    assert counts.total == 4 * sum(SIZES.values()) + biases_and_routers + 1000 * 64
    assert counts.frozen == counts.total - counts.train


@pytest.mark.parametrize("preset", ["random", "lowest", "top-layers", "bottom-layers"])
def test_controls_take_as_many_stacks_and_name_each_once(preset: str) -> None:
    made = planned(preset=preset, share=0.5).plan
    assert made.counts == planned(share=0.5).plan.counts
    assert len(made.train) == len(set(made.train)) == 6


def test_lowest_takes_the_other_end() -> None:
    assert {GATE_UP[0], DOWN[3]} <= set(planned(preset="lowest").plan.train)


def test_full_and_the_reference_name_a_stack_once() -> None:
    report = stacked_mixture()
    assert set(planned(preset="full").plan.train) == set(report.shapes)
    assert len(planned(preset="full").plan.train) == len(report.shapes)
    reference = planned(preset="reference", share=0.5)
    kinds = {choice.kind: choice for choice in reference.choices}
    assert len(kinds["mlp.experts.gate_up_proj"].order) == 4
    assert kinds["mlp.experts.gate_up_proj"].taken == 2
    assert len(reference.plan.train) == len(set(reference.plan.train))
    assert GATE_UP[3] in reference.plan.train


def test_a_slice_that_cannot_be_chosen_keeps_its_whole_stack_out() -> None:
    full = stacked_mixture()
    broken = SkippedTensor(
        name=GATE_UP[3], shape=(4, 64, 192), reason="holds values that are not finite", expert=2
    )
    left = [m for m in full.matrices if (m.name, m.expert) != (GATE_UP[3], 2)]
    skipping = replace(full, matrices=tuple(left), skipped=(*full.skipped, broken))
    thin = replace(
        full,
        matrices=tuple(
            replace(m, flags=("thin",)) if (m.name, m.expert) == (GATE_UP[3], 2) else m
            for m in full.matrices
        ),
    )
    lacking = replace(full, matrices=tuple(left))  # an edited file
    for report in (skipping, thin, lacking):
        train = planned(report, share=1.0, scope="overall").plan.train
        assert GATE_UP[3] not in train
        assert {*GATE_UP[:3], *DOWN} <= set(train)


def halves(gate: str, up: str, down: str, *, unreadable: str | None = None) -> ScanReport:
    """Five layers that store gate and up in stacks of their own, the way GGUF and Step 3 do."""
    matrices: list[ScannedMatrix] = []
    skipped = []
    for layer in range(5):
        for kind, scores in (
            (gate, [1.0 * layer] * 3),
            (up, [-2.0 * layer] * 3),
            (down, [1.0 * layer] * 3),
        ):
            name = f"model.layers.{layer}.{kind}"
            if name == unreadable:
                skipped.append(SkippedTensor(name=name, shape=(3, 64, 64), reason="GPTQ"))
            else:
                matrices += stack(name, scores)
    return report_of(matrices, skipped=skipped)


HALVES = [
    ("moe.gate_proj.weight", "moe.up_proj.weight", "moe.down_proj.weight"),
    ("moe.experts.w1", "moe.experts.w3", "moe.experts.w2"),
    ("ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"),
]


@pytest.mark.parametrize(("gate", "up", "down"), HALVES)
def test_gate_and_up_in_two_stacks_are_still_one_parameter(gate: str, up: str, down: str) -> None:
    report = halves(gate, up, down)
    made = planned(report, share=0.2)
    kinds = {choice.kind: choice for choice in made.choices}
    assert len(kinds) == 2
    pair = next(choice for kind, choice in kinds.items() if "+" in kind)
    assert not pair.kind.startswith(".")
    assert set(pair.chosen[0].names) == {f"model.layers.0.{gate}", f"model.layers.0.{up}"}
    assert pair.order[-1].value == pytest.approx((4.0 - 8.0) / 2, rel=1e-12)
    assert len(made.plan.train) == 3
    with pytest.raises(PlanError, match="together or not at all"):
        planned(report, exclude=[f"model.layers.1.{up}"])


@pytest.mark.parametrize(("gate", "up", "down"), HALVES)
def test_a_stack_whose_partner_cannot_be_read_stays_frozen(gate: str, up: str, down: str) -> None:
    report = halves(gate, up, down, unreadable=f"model.layers.0.{up}")
    train = planned(report, share=1.0).plan.train
    assert f"model.layers.0.{gate}" not in train
    assert {f"model.layers.1.{gate}", f"model.layers.0.{down}"} <= set(train)


def test_stacks_carry_no_adapter_and_neither_do_their_routers() -> None:
    hybrid = planned(preset="hybrid")
    assert hybrid.bare_experts
    assert hybrid.plan.lora is not None
    assert set(hybrid.plan.lora.matrices) == {
        f"model.layers.{i}.self_attn.q_proj.weight" for i in range(3)
    }
    granite = [
        m
        for i in range(4)
        for m in (
            matrix(f"model.layers.{i}.self_attn.q_proj.weight", 1.0),
            *stack(f"model.layers.{i}.block_sparse_moe.input_linear.weight", [1.0, 2.0]),
            matrix(f"model.layers.{i}.block_sparse_moe.router.layer.weight", 1.0, shape=(2, 64)),
        )
    ]
    lora = planned(report_of(granite), preset="lora", lora_r=8)
    assert lora.bare_experts
    assert lora.plan.lora is not None
    assert all("q_proj" in name for name in lora.plan.lora.matrices)


def test_a_budget_of_weights_counts_stacks_whole() -> None:
    each = sum(SIZES.values())
    fitted = fit_plan(stacked_mixture(), PlanRequest(), params_budget(2 * each)).plan
    assert fitted.counts is not None
    assert fitted.counts.train == 2 * each
    with pytest.raises(PlanError, match=f"at least {each:,} weights"):
        fit_plan(stacked_mixture(), PlanRequest(), params_budget(each - 1))


def test_a_budget_of_memory_fits_a_plan_with_stacks() -> None:
    report, shape = stacked_mixture(), TrainingShape(batch_size=1, max_length=16)
    forecast_of = forecasts(report.shapes, shape)
    most = forecast_of(planned(share=1.0).plan).total_bytes
    fitted = fit_plan(
        report,
        PlanRequest(),
        vram_budget(most - 1, lambda plan: forecast_of(plan).total_bytes),
    ).plan
    assert 0 < len(fitted.train) < 12
    assert forecast(fitted, report.shapes, shape).total_bytes < most


PARTS = {"gate_proj": (96, 64), "up_proj": (96, 64), "down_proj": (64, 96)}


@pytest.mark.parametrize("optimizer", ["adamw_torch_fused", "adamw_torch", "adafactor"])
def test_numbered_and_stacked_experts_are_forecast_alike(optimizer: str) -> None:
    # In the model both are the same two parameters of a block.
    places = [(f"model.layers.{i}.mlp.experts", i, part) for i in range(4) for part in PARTS]
    numbered = [
        matrix(f"{stem}.{expert}.{part}.weight", float(i), shape=PARTS[part])
        for stem, i, part in places
        for expert in range(8)
    ]
    stacked = [
        m
        for stem, i, part in places
        for m in stack(f"{stem}.{part}", [float(i)] * 8, extents=PARTS[part])
    ]
    shape = TrainingShape(batch_size=1, max_length=16, optimizer=optimizer, device="cpu")
    one, other = (
        forecast(make_plan(report).plan, report.shapes, shape)
        for report in (
            scan_of(numbered, others=["model.embed_tokens.weight"]),
            report_of(stacked, others=["model.embed_tokens.weight"]),
        )
    )
    assert one == other


def test_a_factored_optimizer_keeps_rows_and_columns_of_each_slice() -> None:
    adafactor = OPTIMIZERS["adafactor"]
    assert state_bytes((96, 64), adafactor, 4) == 4 * (96 + 64)
    assert state_bytes((8, 96, 64), adafactor, 4) == 8 * 4 * (96 + 64)
    assert state_bytes((96,), adafactor, 4) == 4 * 96


def test_exports_name_a_stack_once() -> None:
    plan = planned(share=0.5).plan
    listed = export_plan(plan, "list").splitlines()
    assert listed == list(plan.train)
    patterns = yaml.safe_load(export_plan(plan, "axolotl"))["unfrozen_parameters"]
    assert patterns.count("^model.layers.3.mlp.experts.gate_up_proj$") == 1
    assert len(patterns) == len(plan.train)


def test_a_summary_counts_weights_and_units_not_slices() -> None:
    report = stacked_mixture()
    made = planned(report)
    for choices in (made.choices, ()):
        summaries = {s.kind: s for s in summarize_kinds(report, "snr", choices)}
        stacks = summaries["mlp.experts.gate_up_proj"]
        assert stacks.num_params == 4 * SIZES["gate_up"]
        assert stacks.units == 4
        assert stacks.by_layer[2] == pytest.approx(2.375, rel=1e-12)
        assert stacks.median == pytest.approx(
            statistics.median(i + 0.25 * e for i in range(4) for e in range(4)), rel=1e-12
        )


def test_a_report_with_slices_comes_back_from_its_file(tmp_path: Path) -> None:
    report = stacked_mixture()
    path = tmp_path / "scan.json"
    path.write_text(to_json(report), "utf-8")
    assert read_scan(str(path)) == report
    assert report.shapes[GATE_UP[0]] == (4, 64, 192)
    assert math.prod(report.matrices[1].extents) == 96 * 64


def damaged(change: str) -> dict[str, Any]:
    """The report of a stacked model with one thing wrong."""
    table: dict[str, Any] = json.loads(to_json(stacked_mixture()))
    first, second = [m for m in table["matrices"] if m["name"] == GATE_UP[0]][:2]
    whole = {"name": GATE_UP[0], "shape": [4, 64, 192], "reason": "x", "expert": None}
    if change == "twice":
        second["expert"] = 0
    elif change == "scored and skipped":
        table["skipped"].append({**whole, "expert": 0})
    elif change == "skipped as a whole":
        table["skipped"].append(whole)
    elif change == "shape":
        second["shape"] = [5, 64, 192]
    elif change == "beyond":
        second["expert"] = 4
    elif change == "negative":
        second["expert"] = -1
    elif change == "which":
        table["matrices"] = [m for m in table["matrices"] if m["name"] != GATE_UP[0] or m is first]
        first["expert"] = None
    elif change == "impossible":
        for m in table["matrices"]:
            m["shape"] = [-abs(extent) for extent in m["shape"]]
    else:
        second["name"] = first["name"] = "a\x1b[2J\n" * 50
        second["expert"] = 0
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("twice", "appears twice"),
        ("scored and skipped", "appears twice"),
        ("skipped as a whole", "appears twice"),
        ("shape", "4 x 64 x 192 in one place, 5 x 64 x 192 in another"),
        ("beyond", "no such expert"),
        ("negative", "no such expert"),
        ("which", "does not say of which expert"),
        ("impossible", "cannot be"),
        ("hostile", "appears twice"),
    ],
)
def test_a_file_whose_slices_do_not_fit_is_refused(
    change: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "scan.json"
    path.write_text(json.dumps(damaged(change)), "utf-8")
    with pytest.raises(RecordError, match=message) as caught:
        read_scan(str(path))
    assert caught.value.message.isprintable()
    assert caught.value.hint == "make the scan again"


def test_kinds_that_a_file_tells_differently_are_no_obstacle() -> None:
    report = stacked_mixture()
    told = [replace(m, kind=f"old.{m.kind}") for m in report.matrices]
    assert planned(replace(report, matrices=tuple(told))).plan.train == planned().plan.train
