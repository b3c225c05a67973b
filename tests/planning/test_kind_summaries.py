"""Each kind of a scan in a few numbers, by the rule that plans rank with."""

import math

import pytest

from scans import matrix, one_kind, scan_of
from spectrum_ft.planning.making import make_plan
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.summaries import joint_score, summarize_kinds


def experts(values: list[list[float | None]]) -> ScanReport:
    """A list of experts for each layer; one without a score is saturated."""
    return scan_of(
        [
            matrix(
                f"model.layers.{layer}.mlp.experts.{expert}.w2.weight",
                value,
                flags=["saturated"] if value is None else [],
            )
            for layer, row in enumerate(values)
            for expert, value in enumerate(row)
        ]
    )


def test_a_layer_has_the_value_that_ranks_it() -> None:
    report = experts([[0.5, 1.5], [0.25, None], [3.0, 4.0], [0.5, 0.75]])
    (kind,) = summarize_kinds(report, "snr")
    ranked = {unit.layer: unit.value for unit in make_plan(report).choices[0].order}
    assert kind.by_layer == ranked
    assert (kind.by_layer[0], kind.by_layer[1]) == (1.0, math.inf)


def test_a_value_that_is_not_known_is_not_one_without_bound() -> None:
    report = scan_of(
        [
            matrix("model.layers.0.up.weight", 1.0, others={"condition": None}),
            matrix(
                "model.layers.1.up.weight", 1.0, others={"condition": None}, flags=["unresolved"]
            ),
            matrix("model.layers.2.up.weight", 1.0),
            matrix("model.layers.3.up.weight", 1.0, others={"condition": 9.0}),
        ]
    )
    (kind,) = summarize_kinds(report, "condition")
    assert kind.by_layer == {0: math.inf, 1: None, 2: None, 3: 9.0}


def test_a_score_that_no_plan_ranks_by_has_the_mean_of_what_there_is() -> None:
    members = [
        matrix("a.weight", 1.0, others={"odd": 1.0}),
        matrix("b.weight", 1.0, others={"odd": 2.0}),
        matrix("c.weight", 1.0),
    ]
    assert joint_score(members, "odd") == pytest.approx(1.5, rel=1e-12)
    assert joint_score(members[2:], "odd") is None


@pytest.mark.parametrize("huge", [1e308, -1e308])
def test_scores_whose_sum_is_no_float_have_a_median(huge: float) -> None:
    (kind,) = summarize_kinds(scan_of(one_kind([huge] * 4)), "snr")
    assert kind.median == huge
    (other,) = summarize_kinds(scan_of(one_kind([1.0, huge, 1.5 * huge, 1.5])), "snr")
    assert other.median is not None
    assert math.isfinite(other.median)


def test_experts_whose_sum_is_no_float_are_no_error() -> None:
    (kind,) = summarize_kinds(experts([[1.5e308, 1.5e308], [1.0, 2.0]]), "snr")
    assert kind.by_layer == {0: math.inf, 1: 1.5}
