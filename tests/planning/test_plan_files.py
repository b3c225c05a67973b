"""Plans go out as YAML and come back the same; what an editor breaks is named."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scans import one_kind, scan_of
from spectrum_ft.errors import RecordError
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.plan_files import parse_plan, plan_to_yaml
from spectrum_ft.records.plans import LoraSettings, Plan, PlanModel, PlanPolicy

PLAN = make_plan(scan_of(one_kind([1.0, 2.0, 3.0, 4.0]))).plan


def plan_for(*names: str) -> Plan:
    return Plan(
        model=PlanModel(source="made", fingerprint=None),
        train=names,
        policy=PlanPolicy(name="spectrum", share=0.25, score="snr"),
    )


def broken(old: str, new: str) -> bytes:
    text = plan_to_yaml(PLAN)
    assert old in text
    return text.replace(old, new, 1).encode()


def test_a_plan_comes_back_as_it_was() -> None:
    assert parse_plan(plan_to_yaml(PLAN).encode(), "plan.yaml") == PLAN


def test_adapters_survive_the_file() -> None:
    lora = LoraSettings(matrices=("a.weight",), r=16, alpha=32.0, dropout=0.05)
    plan = Plan(model=PLAN.model, train=PLAN.train, policy=PLAN.policy, lora=lora, base="nf4")
    assert parse_plan(plan_to_yaml(plan).encode(), "plan.yaml") == plan


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(st.lists(NAMES, min_size=1, unique=True))
@settings(derandomize=True, max_examples=200, deadline=None)
def test_any_tensor_name_survives_the_file(names: list[str]) -> None:
    plan = plan_for(*names)
    assert parse_plan(plan_to_yaml(plan).encode(), "plan.yaml") == plan


@pytest.mark.parametrize(
    "name", ["no", "null", "1e3", "~", ": ", "- x", "# x", "!!python/object:os.system", "&a", "---"]
)
def test_names_that_yaml_would_misread_are_quoted(name: str) -> None:
    assert parse_plan(plan_to_yaml(plan_for(name)).encode(), "p").train == (name,)


def test_a_plan_may_hold_adapters_alone_but_not_nothing() -> None:
    report = scan_of(one_kind([1.0, 2.0, 3.0, 4.0]))
    plan = make_plan(report, PlanRequest(preset="qlora")).plan
    assert plan.train == ()
    text = plan_to_yaml(plan)
    assert parse_plan(text.encode(), "plan.yaml") == plan
    table = yaml.safe_load(text)
    table["lora"] = None
    with pytest.raises(RecordError, match="trains nothing"):
        parse_plan(yaml.safe_dump(table).encode(), "plan.yaml")
    table["lora"] = {"matrices": [], "r": 16, "alpha": 32.0, "dropout": 0.0}
    with pytest.raises(RecordError, match="trains nothing"):
        parse_plan(yaml.safe_dump(table).encode(), "plan.yaml")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0}, "rank of 0"),
        ({"alpha": -1.0}, "alpha of -1"),
        ({"alpha": float("nan")}, "not finite"),
        ({"dropout": 1.0}, "dropout of 1"),
        ({"matrices": list(PLAN.train)}, "trains in full and carries an adapter"),
    ],
)
def test_adapters_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    table = yaml.safe_load(plan_to_yaml(PLAN))
    lora = {"matrices": ["a.weight", "a.weight"], "r": 16, "alpha": 32.0, "dropout": 0.05}
    table["lora"] = lora
    again = parse_plan(yaml.safe_dump(table).encode(), "plan.yaml")
    assert again.lora is not None
    assert again.lora.matrices == ("a.weight",)
    table["lora"] = {**lora, **settings}
    with pytest.raises(RecordError, match=message):
        parse_plan(yaml.safe_dump(table).encode(), "plan.yaml")


def test_a_plan_of_an_older_version_is_read() -> None:
    table = yaml.safe_load(plan_to_yaml(PLAN))
    for key in ("lora", "params", "vram_bytes"):
        del table["policy"][key]
    assert parse_plan(yaml.safe_dump(table).encode(), "plan.yaml") == PLAN


def test_a_name_listed_twice_counts_once() -> None:
    name = PLAN.train[0]
    data = broken(f"- {name}\n", f"- {name}\n- {name}\n")
    assert parse_plan(data, "p").train == PLAN.train


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "not a plan", id="empty"),
        pytest.param(b"# only a comment\n", "not a plan", id="comments"),
        pytest.param(b"- a\n", "not a plan", id="list"),
        pytest.param(broken("plan@1", "plan@2"), "newer version", id="newer"),
        pytest.param(broken("spectrum-ft/plan@1", "spectrum-ft/scan@1"), "not a", id="other"),
        pytest.param(broken("train:", "trian:"), "unknown key 'trian'", id="misspelt"),
        pytest.param(broken("share: 0.25", "share: a quarter"), "policy.share", id="mistyped"),
        pytest.param(broken("base: as-is", "base: fp4"), "base", id="unknown-base"),
        pytest.param(broken("base: as-is", "base: as-is\nbase: nf4"), "twice", id="twice"),
        pytest.param(b"a: &x 1\nb: *x\n", "alias", id="alias"),
        pytest.param(b"!!python/object/apply:os.system [id]\n", "a tag", id="tag"),
        pytest.param(b"a: [" * 100 + b"]" * 100, "nested too deeply", id="deep"),
        pytest.param(b"x" * (5 * 2**20 + 1), "larger than", id="large"),
        pytest.param(b"\tschema: x\n", "line 1", id="tab"),
        pytest.param(b"\xff\xfe\x00", "not YAML text", id="not-text"),
    ],
)
def test_a_broken_plan_is_refused_in_one_line_that_names_the_fault(
    data: bytes, message: str
) -> None:
    with pytest.raises(RecordError, match=re.escape(message)) as caught:
        parse_plan(data, "plan.yaml")
    assert caught.value.message.startswith("plan.yaml: ") or "plan.yaml, " in caught.value.message
    assert "\n" not in caught.value.message


def test_a_misspelt_key_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecordError) as caught:
        parse_plan(broken("train:", "trian:"), "plan.yaml")
    assert caught.value.hint == "did you mean train?"
