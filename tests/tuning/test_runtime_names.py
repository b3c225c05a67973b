"""Names of a checkpoint and of the model loaded from it, both ways."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from spectrum_ft.errors import PlanError
from spectrum_ft.tuning.runtime_names import RuntimeNames, module_of, stored_names
from tiny_models import write_tiny

KINDS = ("llama", "llama-tied", "gpt2", "mixtral", "qwen3_moe", "gemma2")


def stored_tensors(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load_file(folder / "model.safetensors")
    return tensors


def loaded(folder: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **options)


def without_prefix(folder: Path, prefix: str) -> Path:
    """The model in `folder`, its tensors named as if they were the backbone's alone."""
    tensors = stored_tensors(folder)
    short = {name.removeprefix(prefix): value for name, value in tensors.items()}
    save_file(short, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_is_found_in_the_model_and_comes_back_bit_for_bit(
    kind: str, tmp_path: Path
) -> None:
    folder = write_tiny(tmp_path / kind, kind)
    stored, names = stored_tensors(folder), RuntimeNames(loaded(folder))
    units = names.units(list(stored))
    assert sorted(name for unit in units for name in unit.stored) == sorted(stored)
    for unit in units:
        runtime = names.to_runtime(unit, {name: stored[name] for name in unit.stored})
        assert set(runtime) == set(unit.runtime)
        for name, value in runtime.items():
            assert torch.equal(value, names.parameters[name])
        back = names.to_stored(unit, runtime)
        assert set(back) == set(unit.stored)
        for name, value in back.items():
            assert torch.equal(value, stored[name])


@pytest.mark.parametrize("kind", KINDS)
def test_the_units_fill_every_parameter_once(kind: str, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / kind, kind)
    names = RuntimeNames(loaded(folder))
    filled = [
        id(names.parameters[n]) for u in names.units([*stored_tensors(folder)]) for n in u.runtime
    ]
    assert len(filled) == len(set(filled))
    assert set(filled) == {id(parameter) for parameter in names.parameters.values()}


def test_a_trained_value_comes_back_where_it_belongs(tmp_path: Path) -> None:
    # Each expert's own number in every entry: an exchange of experts or of w1 and w3 would show.
    folder = write_tiny(tmp_path / "model", "mixtral")
    names = RuntimeNames(loaded(folder))
    prefix = "model.layers.1.block_sparse_moe.experts"
    wanted = {
        f"{prefix}.{expert}.{part}.weight": torch.full((96, 64), 10.0 * expert + which)
        for expert in range(4)
        for which, part in ((1, "w1"), (3, "w3"))
    }
    (unit,) = names.units(list(reversed(wanted)))
    assert unit.runtime == ("model.layers.1.mlp.experts.gate_up_proj",)
    fused = names.to_runtime(unit, wanted)[unit.runtime[0]]
    assert fused.shape == (4, 2 * 96, 64)
    assert fused[:, 0, 0].tolist() == [1.0, 11.0, 21.0, 31.0]
    assert fused[:, -1, 0].tolist() == [3.0, 13.0, 23.0, 33.0]
    back = names.to_stored(unit, {unit.runtime[0]: fused})
    assert all(torch.equal(back[name], value) for name, value in wanted.items())


def test_experts_come_back_in_their_order_when_there_are_more_than_ten(tmp_path: Path) -> None:
    # As text, expert 10 would come before expert 2.
    folder = write_tiny(tmp_path / "model", "qwen3_moe", num_experts=12)
    stored, names = stored_tensors(folder), RuntimeNames(loaded(folder))
    for unit in names.units(list(stored)):
        values = {name: names.parameters[name].detach() for name in unit.runtime}
        for name, value in names.to_stored(unit, values).items():
            assert torch.equal(value, stored[name])


def test_gpt2_is_understood_with_and_without_its_prefix(tmp_path: Path) -> None:
    with_prefix = write_tiny(tmp_path / "long", "gpt2")
    before = loaded(with_prefix)
    short = without_prefix(write_tiny(tmp_path / "short", "gpt2"), "transformer.")
    names, stored = RuntimeNames(loaded(short)), stored_tensors(short)
    assert "h.0.attn.c_attn.weight" in stored
    for unit in names.units(list(stored)):
        assert unit.runtime[0] == f"transformer.{unit.stored[0]}"
        runtime = names.to_runtime(unit, {name: stored[name] for name in unit.stored})
        assert torch.equal(runtime[unit.runtime[0]], before.get_parameter(unit.runtime[0]))
        assert names.to_stored(unit, runtime) == {unit.stored[0]: stored[unit.stored[0]]}
    # The same model takes the long names as well.
    (unit,) = names.units(["transformer.h.1.mlp.c_fc.weight"])
    assert unit.runtime == ("transformer.h.1.mlp.c_fc.weight",)


def test_tied_weights_are_one_parameter_under_both_names(tmp_path: Path) -> None:
    names = RuntimeNames(loaded(write_tiny(tmp_path / "model", "llama-tied")))
    head, embedding = names.units(["lm_head.weight", "model.embed_tokens.weight"])
    assert names.parameters[head.runtime[0]] is names.parameters[embedding.runtime[0]]


@pytest.mark.parametrize(
    "part",
    [
        ["model.layers.0.block_sparse_moe.experts.1.w1.weight"],
        [f"model.layers.0.block_sparse_moe.experts.{i}.w1.weight" for i in range(4)],
        [f"model.layers.0.block_sparse_moe.experts.{i}.w2.weight" for i in range(3)],
    ],
)
def test_a_part_of_a_fused_parameter_is_refused_with_what_it_lacks(
    part: list[str], tmp_path: Path
) -> None:
    names = RuntimeNames(loaded(write_tiny(tmp_path / "model", "mixtral")))
    with pytest.raises(PlanError, match="together or not at all") as caught:
        names.units(part)
    assert f"takes {len(part)} of the" in caught.value.message
    assert "block_sparse_moe.experts" in str(caught.value.hint)


def test_a_name_listed_twice_counts_once(tmp_path: Path) -> None:
    names = RuntimeNames(loaded(write_tiny(tmp_path / "model", "llama")))
    assert len(names.units(["model.norm.weight", "model.norm.weight"])) == 1


@pytest.mark.parametrize("kind", ["llama", "mixtral", "gpt2"])
def test_an_unknown_name_is_refused_with_the_nearest_ones(kind: str, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", kind)
    names = RuntimeNames(loaded(folder))
    known = sorted(stored_tensors(folder))[-2]
    mistyped = known[:-1] + "d"
    with pytest.raises(PlanError, match="1 of the plan's names are not in this model") as caught:
        names.units([known, mistyped])
    assert known in str(caught.value.hint)


@pytest.mark.parametrize(
    "name",
    ["", "weight", "model", "model.layers.99.mlp.up_proj.weight", "a\n\x1b[31m" * 200, "é.x"],
)
def test_any_text_is_refused_as_a_name_in_one_printable_line(name: str, tmp_path: Path) -> None:
    names = RuntimeNames(loaded(write_tiny(tmp_path / "model", "llama")))
    with pytest.raises(PlanError) as caught:
        names.units([name])
    assert caught.value.message.isprintable()
    assert caught.value.hint is not None
    assert caught.value.hint.isprintable()


@pytest.mark.parametrize("kind", ["llama", "mixtral", "gpt2"])
def test_names_of_a_model_in_nf4_are_those_of_the_model(kind: str, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / kind, kind)
    stored, plain = stored_tensors(folder), RuntimeNames(loaded(folder))
    packed = RuntimeNames(
        loaded(
            folder,
            quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
        )
    )
    assert packed.units(list(stored)) == plain.units(list(stored))
    floating = [
        unit
        for unit in packed.units(list(stored))
        if packed.parameters[unit.runtime[0]].is_floating_point()
    ]
    assert 0 < len(floating) < len(stored)
    for unit in floating:
        values = {name: packed.parameters[name].detach() for name in unit.runtime}
        for name, value in packed.to_stored(unit, values).items():
            assert torch.equal(value.float(), stored[name])


def test_reverting_does_not_disturb_how_a_quantized_model_saves_itself(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "mixtral")
    model = loaded(
        folder, quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    )
    before = model.__dict__.get("_weight_conversions")
    with pytest.raises(PlanError):
        RuntimeNames(model).units(["model.layers.0.block_sparse_moe.experts.1.w1.weight"])
    assert model.__dict__.get("_weight_conversions") is before


def test_the_table_of_names_tells_what_each_parameter_is_loaded_from(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "mixtral")
    table = stored_names(RuntimeNames(loaded(folder)), stored_tensors(folder))
    assert len(table["model.layers.0.mlp.experts.gate_up_proj"]) == 8
    assert table["model.norm.weight"] == ("model.norm.weight",)


def test_a_module_is_what_precedes_the_last_dot() -> None:
    assert module_of("model.layers.0.mlp.up_proj.weight") == "model.layers.0.mlp.up_proj"
    assert module_of("weight") == ""
