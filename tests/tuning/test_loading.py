"""Models loaded for training: what is packed, what is not, and what a folder lacks."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from spectrum_ft.errors import CheckpointError, PlanError, SpectrumError
from spectrum_ft.records.plans import Plan
from spectrum_ft.tuning.applying import apply_plan
from spectrum_ft.tuning.bases import open_base
from spectrum_ft.tuning.loading import (
    Loaded,
    as_unquantized,
    load_for_training,
    planned_quantized,
    read_masters,
)
from tiny_models import plan_of, write_tiny

DOWN = "model.layers.1.mlp.down_proj.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
KINDS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
LINEAR = {
    f"model.layers.{i}.{kind}.weight"
    for i in range(2)
    for kind in (*KINDS, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
}


def load(folder: Path, plan: Plan, dtype: torch.dtype = torch.float32) -> Loaded:
    base = open_base(str(folder))
    loaded = load_for_training(base, plan, dtype=dtype, device=torch.device("cpu"))
    assert loaded.quantized == planned_quantized(base, plan)
    return loaded


def packed(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if not p.is_floating_point()}


@pytest.mark.parametrize("keeping", ["nf4", "int8"])
@pytest.mark.parametrize("kind", ["llama", "llama-tied"])
def test_all_that_does_not_train_is_packed_and_the_head_never(
    kind: str, keeping: str, tmp_path: Path
) -> None:
    plan = plan_of(DOWN, QUERY, base="nf4" if keeping == "nf4" else "int8")
    loaded = load(write_tiny(tmp_path / "model", kind), plan)
    assert set(loaded.quantized) == packed(loaded.model) == LINEAR - {DOWN, QUERY}
    assert loaded.model.lm_head.weight.dtype == torch.float32
    assert loaded.model.get_parameter(DOWN).dtype == torch.float32


def test_as_is_packs_nothing(tmp_path: Path) -> None:
    loaded = load(write_tiny(tmp_path / "model", "llama"), plan_of(DOWN), torch.bfloat16)
    assert loaded.quantized == ()
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}


def test_a_matrix_under_an_adapter_is_packed(tmp_path: Path) -> None:
    plan = plan_of(DOWN, adapted=[QUERY], base="nf4")
    assert QUERY in load(write_tiny(tmp_path / "model", "llama"), plan).quantized


def test_a_trained_matrix_does_not_keep_its_namesakes_out(tmp_path: Path) -> None:
    # The list of what is kept out holds patterns: unescaped, layers.1 would stand for layers.11.
    folder = write_tiny(tmp_path / "model", "llama", num_hidden_layers=12)
    loaded = load(folder, plan_of(DOWN, base="nf4"))
    assert "model.layers.11.mlp.down_proj.weight" in loaded.quantized
    assert len(loaded.quantized) == 12 * 7 - 1


def test_a_trained_norm_is_no_reason_to_leave_a_matrix_unpacked(tmp_path: Path) -> None:
    plan = plan_of("model.layers.0.input_layernorm.weight", "model.norm.weight", base="nf4")
    assert set(load(write_tiny(tmp_path / "model", "llama"), plan).quantized) == LINEAR


def test_gpt2s_transposed_matrices_are_packed_under_the_folders_names(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "gpt2")
    tensors = load_file(folder / "model.safetensors")
    short = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    save_file(short, folder / "model.safetensors", metadata={"format": "pt"})
    loaded = load(folder, plan_of("h.1.mlp.c_fc.weight", base="nf4"))
    kinds = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    every = {f"h.{i}.{kind}.weight" for i in range(2) for kind in kinds}
    assert set(loaded.quantized) == every - {"h.1.mlp.c_fc.weight"}


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe"])
def test_fused_experts_stay_unpacked_and_the_record_says_so(kind: str, tmp_path: Path) -> None:
    plan = plan_of("model.layers.1.self_attn.q_proj.weight", base="nf4")
    loaded = load(write_tiny(tmp_path / "model", kind), plan)
    attention = {f"model.layers.{i}.{k}.weight" for i in range(2) for k in KINDS}
    assert attention - {*plan.train} <= set(loaded.quantized)
    assert not any("experts" in name for name in loaded.quantized)


def test_packed_values_are_those_of_nf4_in_blocks_of_64(tmp_path: Path) -> None:
    import bitsandbytes.functional as four_bits

    folder = write_tiny(tmp_path / "model", "llama")
    loaded = load(folder, plan_of(DOWN, base="nf4"))
    weight = loaded.model.get_parameter(QUERY)
    assert weight.quant_state.quant_type == "nf4"
    assert weight.quant_state.nested  # double quantization
    stored = load_file(folder / "model.safetensors")[QUERY]
    error = four_bits.dequantize_4bit(weight.data, weight.quant_state) - stored
    # The widest gap between two of the 16 levels is 0.304 of a block's largest value; half of
    # that, and 2 % for the scales' own quantization.
    largest = stored.reshape(-1, 64).abs().amax(1, keepdim=True)
    assert ((error.reshape(-1, 64).abs() / largest) < 0.152 + 0.02).all()


@pytest.mark.parametrize("name", ["model.norm.weight", DOWN, "lm_head.weight"])
@pytest.mark.parametrize("plan", [plan_of(QUERY), plan_of(QUERY, base="nf4")])
def test_what_the_folder_lacks_is_an_error_not_random_numbers(
    name: str, plan: Plan, tmp_path: Path
) -> None:
    folder = write_tiny(tmp_path / "model", "llama")
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="missing") as caught:
        load(folder, plan)
    assert name in caught.value.message


def test_a_tensor_of_another_shape_is_an_error(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "llama")
    tensors = load_file(folder / "model.safetensors")
    tensors[DOWN] = tensors[DOWN][:, :-1].contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError):
        load(folder, plan_of(QUERY))


def test_a_missing_expert_is_an_error(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "mixtral")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.0.block_sparse_moe.experts.2.w1.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SpectrumError):
        load(folder, plan_of("model.norm.weight"))


def test_a_checkpoint_that_is_quantized_already_is_refused_in_words(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(
        write_tiny(tmp_path / "model", "llama"),
        quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    )
    model.save_pretrained(tmp_path / "packed")
    with pytest.raises(SpectrumError):
        load(tmp_path / "packed", plan_of("model.norm.weight"))


def test_a_folder_of_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "llama")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"llama"', '"llamma"'))
    with pytest.raises(CheckpointError, match="config"):
        load(folder, plan_of(DOWN))


def test_a_folder_that_wants_to_run_its_own_code_is_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "llama")
    config = (folder / "config.json").read_text().replace('"llama"', '"odd"')
    own = '{"auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},'
    (folder / "config.json").write_text(config.replace("{", own, 1))
    (folder / "own.py").write_text("raise SystemExit('the code of a model was run')\n")
    with pytest.raises(CheckpointError):
        load(folder, plan_of(DOWN))


def test_masters_of_a_float32_folder_in_a_bfloat16_model_are_exact(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "llama")
    stored = load_file(folder / "model.safetensors")
    plan = plan_of(DOWN, "model.norm.weight")
    applied = apply_plan(load(folder, plan, torch.bfloat16).model, plan)
    assert not torch.equal(applied.trained_tensors()[DOWN], stored[DOWN])
    read_masters(applied, open_base(str(folder)))
    for name, value in applied.trained_tensors().items():
        assert torch.equal(value, stored[name])
    assert applied.base.get_parameter(QUERY).dtype == torch.bfloat16


def test_masters_of_fused_experts_are_exact(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model", "mixtral")
    stored = load_file(folder / "model.safetensors")
    prefix = "model.layers.1.block_sparse_moe.experts"
    plan = plan_of(*(f"{prefix}.{i}.{p}.weight" for i in range(4) for p in ("w3", "w1")))
    applied = apply_plan(load(folder, plan, torch.bfloat16).model, plan)
    read_masters(applied, open_base(str(folder)))
    for name, value in applied.trained_tensors().items():
        assert torch.equal(value, stored[name])


def test_hiding_that_a_model_is_quantized_ends_with_the_block(tmp_path: Path) -> None:
    model = load(write_tiny(tmp_path / "model", "llama"), plan_of(DOWN, base="nf4")).model
    before = {name: getattr(model, name, None) for name in ("is_loaded_in_4bit", "is_quantized")}
    assert all(before.values())
    with as_unquantized(model):
        assert not any(getattr(model, name) for name in before)
    assert {name: getattr(model, name, None) for name in before} == before
    with pytest.raises(PlanError), as_unquantized(model):
        raise PlanError("stopped")
    assert {name: getattr(model, name, None) for name in before} == before


def test_a_plain_model_is_not_marked_by_hiding(tmp_path: Path) -> None:
    model = load(write_tiny(tmp_path / "model", "llama"), plan_of(DOWN)).model
    before = set(vars(model))
    with as_unquantized(model):
        pass
    assert set(vars(model)) == before
