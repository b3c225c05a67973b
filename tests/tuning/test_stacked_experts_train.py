"""Models that store all experts of a block in one tensor: what a plan names trains, whole."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, GptOssConfig, GraniteMoeConfig

from spectrum_ft.errors import PlanError
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import TrainRun, TrainSettings
from spectrum_ft.scanning.scans import scan
from spectrum_ft.spectra.store import SpectraStore
from spectrum_ft.tuning.applying import apply_plan
from spectrum_ft.tuning.bases import open_base
from spectrum_ft.tuning.loading import load_for_training
from spectrum_ft.tuning.merges.merging import merge
from spectrum_ft.tuning.opening import open_model
from spectrum_ft.tuning.training import train
from tiny_models import plan_of, tiny_config, tiny_tokenizer, write_messages

pytestmark = [
    # PEFT and TRL use what transformers is about to rename.
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]

SMALL: dict[str, Any] = {
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}
STACKS = {
    "gpt_oss": ("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
    "granitemoe": (
        "block_sparse_moe.input_linear.weight",
        "block_sparse_moe.output_linear.weight",
    ),
    "qwen3_moe": ("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
}
"""What each architecture stores in three axes."""


def config_of(kind: str) -> Any:
    if kind == "gpt_oss":
        rope = {"rope_type": "default", "rope_theta": 10_000.0}
        return GptOssConfig(**SMALL, intermediate_size=48, head_dim=16, rope_parameters=rope)
    if kind == "granitemoe":
        return GraniteMoeConfig(**SMALL, intermediate_size=48)
    return tiny_config("qwen3_moe", num_hidden_layers=4)


def write_stacked(folder: Path, kind: str) -> Path:
    """A model of four blocks of four experts that are stacked in its file.

    gpt-oss and Granite store them so; transformers loads Qwen3-MoE in that layout too, though it
    saves it in another, so the file is written as the model has it in memory.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config_of(kind))
        # Some start with biases and experts of nothing but zeros.
        for parameter in model.parameters():
            if parameter.ndim == 3:
                torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(folder)
    if kind == "qwen3_moe":
        held = {name: p.detach().contiguous() for name, p in model.named_parameters()}
        save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    tiny_tokenizer().save_pretrained(folder)
    return folder


def stored(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load_file(folder / "model.safetensors")
    return tensors


def train_on(folder: Path, plan: Plan) -> TrainRun:
    data = write_messages(folder / "data.jsonl", 8)
    settings = TrainSettings(data=str(data), lr=1e-2, batch_size=2, max_steps=2)
    return train(str(folder / "model"), plan, settings, folder / "run")


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_scan_plan_train_and_merge_change_exactly_the_stacks_of_the_plan(
    kind: str, tmp_path: Path
) -> None:
    model = write_stacked(tmp_path / "model", kind)
    with SpectraStore(tmp_path / "spectra.sqlite") as store:
        report = scan(str(model), kinds=[f"*{STACKS[kind][0].split('.')[0]}.*"], store=store)
    names = {f"model.layers.{i}.{part}" for i in range(4) for part in STACKS[kind]}
    assert names <= {matrix.name for matrix in report.matrices}
    assert {m.expert for m in report.matrices if m.name in names} == {0, 1, 2, 3}
    plan = make_plan(report, PlanRequest(share=0.25)).plan
    assert len(plan.train) == 2
    assert set(plan.train) <= names
    run = train_on(tmp_path, plan)
    assert run.contract.trained == sum(stored(model)[name].numel() for name in plan.train)
    assert run.contract.trained_tensors == 2
    assert run.moved > 0.5  # experts that no token was sent to stay
    merge(tmp_path / "run", tmp_path / "merged")
    before, after = stored(model), stored(tmp_path / "merged")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(plan.train)
    loaded, found = AutoModelForCausalLM.from_pretrained(
        tmp_path / "merged", output_loading_info=True
    )
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    opened = open_model(str(tmp_path / "run"), device="cpu").model
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, opened.get_parameter(name))


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_a_stack_trains_as_one_parameter_and_nothing_else_does(kind: str, tmp_path: Path) -> None:
    base = open_base(str(write_stacked(tmp_path / "model", kind)))
    name = f"model.layers.2.{STACKS[kind][0]}"
    plan = plan_of(name)
    loaded = load_for_training(base, plan, dtype=torch.float32, device=torch.device("cpu"))
    applied = apply_plan(loaded.model, plan)
    (parameter,) = applied.trained.values()
    assert tuple(parameter.shape) == tuple(stored(base.folder)[name].shape)
    assert [p for p in loaded.model.parameters() if p.requires_grad] == [parameter]
    assert applied.lowest_layer == 2
    assert torch.equal(applied.trained_tensors()[name], stored(base.folder)[name])


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_a_stack_trains_beside_a_base_in_nf4(kind: str, tmp_path: Path) -> None:
    base = open_base(str(write_stacked(tmp_path / "model", kind)))
    name = f"model.layers.2.{STACKS[kind][1]}"
    query = "model.layers.0.self_attn.q_proj.weight"
    plan = plan_of(name, adapted=[query], base="nf4")
    loaded = load_for_training(base, plan, dtype=torch.float32, device=torch.device("cpu"))
    applied = apply_plan(loaded.model, plan)
    assert not any(part in packed for packed in loaded.quantized for part in STACKS[kind])
    assert query in loaded.quantized
    assert len(applied.trained) == 1
    tokens = torch.arange(3, 15)[None]
    applied.model(input_ids=tokens, labels=tokens).loss.backward()
    (parameter,) = applied.trained.values()
    assert parameter.grad is not None
    assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_a_stack_carries_no_adapter(kind: str, tmp_path: Path) -> None:
    write_stacked(tmp_path / "model", kind)
    plan = plan_of(adapted=[f"model.layers.2.{STACKS[kind][0]}"])
    with pytest.raises(PlanError, match="no adapter fits"):
        train_on(tmp_path, plan)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_the_lora_preset_adapts_what_the_model_can_carry(kind: str, tmp_path: Path) -> None:
    model = write_stacked(tmp_path / "model", kind)
    with SpectraStore(tmp_path / "spectra.sqlite") as store:
        report = scan(str(model), store=store)
    planned = make_plan(report, PlanRequest(preset="lora", lora_r=4))
    assert planned.bare_experts
    base = open_base(str(model))
    loaded = load_for_training(base, planned.plan, dtype=torch.float32, device=torch.device("cpu"))
    applied = apply_plan(loaded.model, planned.plan)
    assert {name.split(".")[3] for name in applied.adapted} == {"self_attn"}
