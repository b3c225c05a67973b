"""Experts' gate and up matrices load as one parameter: one unit of planning, scored per part."""

import json

import pytest

from scans import matrix, scan_of
from spectrum_ft.errors import PlanError
from spectrum_ft.planning.candidates import unit_kinds
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.published import parse_published
from spectrum_ft.records.scans import ScanReport

SPELLINGS = [
    ("block_sparse_moe.experts", "w1", "w3", "w2"),
    ("mlp.experts", "gate_proj", "up_proj", "down_proj"),
]
Spelling = tuple[str, str, str, str]


def mixture(spelling: Spelling, *, skipped: str | None = None) -> ScanReport:
    """Five layers of two experts; gate scores rise with the layer, up scores fall twice as fast."""
    stem, gate, up, down = spelling
    names = [
        (f"model.layers.{layer}.{stem}.{e}.{part}.weight", score)
        for layer in range(5)
        for e in range(2)
        for part, score in ((gate, 1.0 * layer), (up, -2.0 * layer), (down, 1.0 * layer))
    ]
    return scan_of(
        [matrix(name, score) for name, score in names if name != skipped],
        others=[name for name, _ in names if name == skipped],
    )


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_gate_and_up_are_chosen_together_by_the_mean_of_all_parts(spelling: Spelling) -> None:
    stem, gate, up, down = spelling
    planned = make_plan(mixture(spelling), PlanRequest(share=0.2))
    kinds = {choice.kind: choice for choice in planned.choices}
    assert set(kinds) == {f"{stem}.{gate}+{up}", f"{stem}.{down}"}
    pair = kinds[f"{stem}.{gate}+{up}"]
    assert len(pair.order) == 5
    assert pair.order[0].layer == 0  # mean -layer / 2: the first block is best
    assert pair.order[-1].value == pytest.approx((4.0 - 8.0) / 2)
    assert set(pair.chosen[0].names) == {
        f"model.layers.0.{stem}.{e}.{part}.weight" for e in range(2) for part in (gate, up)
    }
    assert kinds[f"{stem}.{down}"].chosen[0].layer == 4


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_filter_that_splits_them_is_refused(spelling: Spelling) -> None:
    stem, gate, up, _ = spelling
    report = mixture(spelling)
    for request in (
        PlanRequest(kinds=[f"{stem}.{gate}"]),
        PlanRequest(exclude=[f"{stem}.{up}"]),
        PlanRequest(exclude=[f"*.1.{gate}.weight"]),
    ):
        with pytest.raises(PlanError, match="together or not at all") as caught:
            make_plan(report, request)
        assert f"{gate}+{up}" in caught.value.message
    both = make_plan(report, PlanRequest(kinds=[f"{stem}.{gate}", f"{stem}.{up}"])).plan
    by_shown_kind = make_plan(report, PlanRequest(kinds=[f"{stem}.{gate}+{up}"])).plan
    assert by_shown_kind.train == both.train
    without = make_plan(report, PlanRequest(exclude=[f"{stem}.{gate}+{up}"])).plan
    assert all(".down_proj." in name or ".w2." in name for name in without.train)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_block_whose_gate_cannot_be_chosen_keeps_its_up_frozen(spelling: Spelling) -> None:
    stem, gate, up, _ = spelling
    report = mixture(spelling, skipped=f"model.layers.0.{stem}.1.{gate}.weight")
    train = make_plan(report, PlanRequest(share=1.0)).plan.train
    assert not [name for name in train if f"layers.0.{stem}" in name and f".{up}." in name]
    assert [name for name in train if f"layers.1.{stem}" in name and f".{up}." in name]


def test_only_experts_are_fused_and_only_with_their_partner() -> None:
    dense = scan_of(
        [
            matrix(f"model.layers.0.mlp.{part}.weight", 1.0)
            for part in ("gate_proj", "up_proj", "shared_experts.gate_proj")
        ]
    )
    assert all(kind == planned for kind, planned in unit_kinds(dense.matrices).items())
    alone = scan_of([matrix(f"model.layers.0.mlp.experts.{e}.w1.weight", 1.0) for e in range(2)])
    assert unit_kinds(alone.matrices) == {"mlp.experts.w1": "mlp.experts.w1"}


def test_the_reference_preset_still_ranks_each_expert_and_part_on_its_own() -> None:
    rows = {
        f"model.layers.{layer}.block_sparse_moe.experts.{e}.{part}": {"snr": layer + e, "type": "x"}
        for layer in range(4)
        for e in range(2)
        for part in ("w1", "w3")
    }
    report = parse_published(json.dumps(rows).encode(), "published.json")
    planned = make_plan(report, PlanRequest(preset="reference", share=0.25))
    assert len(planned.choices) == 4
    assert all(choice.taken == 1 for choice in planned.choices)
