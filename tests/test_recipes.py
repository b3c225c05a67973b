"""What the recipes show is what the exports write."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spectrum_ft.planning.exports import EXPORTS, export_plan
from spectrum_ft.records.plans import LoraSettings, Plan
from tiny_models import plan_of

RECIPES = Path(__file__).parents[1] / "docs" / "recipes"
NAMES = ("model.layers.3.mlp.down_proj.weight", "model.layers.17.self_attn.q_proj.weight")

PLANS: dict[str, Plan] = {"trained": plan_of(*NAMES)}
PLANS["adapted"] = Plan(
    model=PLANS["trained"].model,
    train=(),
    lora=LoraSettings(matrices=NAMES, r=16, alpha=32.0, dropout=0.05),
    base="nf4",
    policy=PLANS["trained"].policy,
)


def blocks(page: str, language: str) -> list[str]:
    text = (RECIPES / f"{page}.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(
    ("page", "plans"),
    [
        ("axolotl", ["trained", "adapted"]),
        ("ms-swift", ["trained", "adapted"]),
        ("llama-factory", ["adapted"]),
    ],
)
def test_a_recipes_configuration_ends_with_what_the_export_writes(
    page: str, plans: list[str]
) -> None:
    shown = blocks(page, "yaml")
    assert len(shown) == len(plans)
    for block, plan in zip(shown, plans, strict=True):
        exported = export_plan(PLANS[plan], page)
        assert block.endswith(exported)
        whole: dict[str, Any] = yaml.safe_load(block)
        assert yaml.safe_load(exported).items() <= whole.items()
        keys = re.findall(r"^([a-z_0-9]+):", block, re.MULTILINE)
        assert len(keys) == len(set(keys))


def test_the_description_of_a_data_set_is_json() -> None:
    (block,) = blocks("llama-factory", "json")
    assert json.loads(block)["mine"]["file_name"] == "train.jsonl"


def test_every_format_has_a_recipe_and_every_recipe_a_command_that_exists() -> None:
    pages = {path.stem: path.read_text("utf-8") for path in RECIPES.glob("*.md")}
    asked = {name for text in pages.values() for name in re.findall(r"--export ([a-z-]+)", text)}
    assert asked == set(EXPORTS) - {"list"}
    index = pages.pop("index")
    for page in pages:
        assert f"({page}.md)" in index
        assert f"\n{page}\n" in index
