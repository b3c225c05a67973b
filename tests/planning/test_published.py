"""The published script's results are read, and its selections reproduced, exactly."""

import json
from pathlib import Path

import pytest

from spectrum_ft.errors import RecordError
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.published import ALWAYS_TRAINED, SUFFIX, parse_published
from spectrum_ft.scan_files import read_scan

DATA = Path(__file__).parents[3] / "shared" / "data"
PUBLISHED = sorted((DATA / "published-snr").glob("snr_results_*.json"))
EXPECTED = sorted((DATA / "expected-selection").glob("*.json"))

needs_data = pytest.mark.skipif(
    not EXPECTED, reason="the published results are not beside the project"
)


@needs_data
@pytest.mark.parametrize("percent", [10, 25, 50])
@pytest.mark.parametrize("path", EXPECTED, ids=lambda path: path.stem)
def test_the_reference_preset_selects_what_the_script_selects_order_included(
    path: Path, percent: int
) -> None:
    expected = json.loads(path.read_text("utf-8"))
    report = read_scan(str(DATA / "published-snr" / expected["source"]))
    planned = make_plan(report, PlanRequest(preset="reference", share=percent / 100))
    by_kind = {
        choice.kind: [name.removesuffix(SUFFIX) for unit in choice.chosen for name in unit.names]
        for choice in planned.choices
    }
    assert by_kind == expected[f"top_{percent}"]
    chosen = [name + SUFFIX for names in by_kind.values() for name in names]
    assert list(planned.plan.train) == [*ALWAYS_TRAINED, *chosen]


@needs_data
def test_every_published_file_is_read_but_the_one_that_is_empty() -> None:
    unreadable = []
    for path in PUBLISHED:
        try:
            report = read_scan(str(path))
        except RecordError as error:
            unreadable.append((path.name, error.message))
        else:
            assert report.matrices
            for matrix in report.matrices:
                unbounded = matrix.scores["snr"] is None
                assert unbounded == ("saturated" in matrix.flags)
    assert len(PUBLISHED) == 22
    ((name, message),) = unreadable
    assert name == "snr_results_deepseek-ai-DeepSeek-V3.1-Base.json"
    assert message.endswith(": empty")


def test_both_shapes_of_file_say_the_same() -> None:
    flat = b'{"model.layers.0.mlp.up_proj": {"snr": 2.0, "type": "mlp.up_proj"},'
    flat += b'"model.layers.1.mlp.up_proj": {"snr": Infinity, "type": "mlp.up_proj"}}'
    nested = b'{"mlp.up_proj": {"model.layers.0.mlp.up_proj": 2.0,'
    nested += b'"model.layers.1.mlp.up_proj": Infinity}}'
    one, other = parse_published(flat, "a"), parse_published(nested, "a")
    assert one == other
    assert [m.scores["snr"] for m in one.matrices] == [2.0, None]
    assert one.matrices[1].flags == ("saturated",)


def test_norms_in_an_import_are_never_chosen_by_our_own_policy() -> None:
    rows = {
        f"model.layers.{i}.{kind}": {"snr": float(i), "type": kind}
        for kind in ("input_layernorm", "mlp.up_proj")
        for i in range(8)
    }
    report = parse_published(json.dumps(rows).encode(), "a")
    train = make_plan(report, PlanRequest(share=0.5)).plan.train
    assert train == tuple(f"model.layers.{i}.mlp.up_proj.weight" for i in (7, 6, 5, 4))


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"null",
        b"{}",
        b'{"a": 1}',
        b'{"a": {"snr": "high", "type": "x"}}',
        b'{"a": {"snr": NaN, "type": "x"}}',
        b'{"a": {"snr": true, "type": "x"}}',
        b'{"x": {"a": 1.0, "a": 2.0}}',
        b'{"a": {"snr": 1.0, "type": "x"}',
        b'{"a": {"snr": -Infinity, "type": "x"}}',
        b'{"a": {"snr": 1' + b"0" * 400 + b', "type": "x"}}',
        b'{"a": {"snr": 1' + b"0" * 5000 + b', "type": "x"}}',
        b'{"\\ud800": {"snr": 1.0, "type": "x"}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_result_file_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(RecordError, match=r"^some\.json: ") as caught:
        parse_published(data, "some.json")
    assert "\n" not in caught.value.message
    assert caught.value.hint is not None
