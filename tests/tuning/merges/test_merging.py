"""Merged models against dense arithmetic, PEFT's own merge and bitsandbytes' own layers."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from bitsandbytes import functional
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GPT2Config,
)

from made_runs import ALPHA, RANK, Factors, write_run
from making import write_llama
from spectrum_ft.checkpoints.folder import read_folder
from spectrum_ft.errors import CheckpointError, OutputError, RecordError, SpectrumError
from spectrum_ft.tuning.merges.merge_jobs import MergeDtype, prepare_merge
from spectrum_ft.tuning.merges.merging import iter_merge, merge
from spectrum_ft.tuning.runs.manifests import write_manifest
from tiny_models import write_messages, write_tiny_llama, write_tiny_mixtral

Q = "model.layers.0.self_attn.q_proj.weight"  # square
UP = "model.layers.1.mlp.up_proj.weight"
DOWN = "model.layers.1.mlp.down_proj.weight"


# PEFT 0.21 asks transformers 5.23 by a name that is on its way out.
PEFT_WARNS = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


def weights_of(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model's folder, by an independent reader."""
    return {
        k: v for path in sorted(folder.glob("*.safetensors")) for k, v in load_file(path).items()
    }


def random_like(tensors: dict[str, Tensor], *names: str, seed: int = 1) -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return {name: torch.randn(tensors[name].shape, generator=chance) for name in names}


def factors(outputs: int, inputs: int, seed: int = 2) -> Factors:
    chance = torch.Generator().manual_seed(seed)
    a = torch.randn(RANK, inputs, generator=chance)
    return a, torch.randn(outputs, RANK, generator=chance)


def product(adapter: Factors) -> Tensor:
    """What the adapter adds, in float64."""
    a, b = (factor.double() for factor in adapter)
    return ALPHA / RANK * b @ a


def assert_same_bits(one: Tensor, other: Tensor) -> None:
    assert one.dtype == other.dtype
    assert torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(torch.arange(24).reshape(2, 12)).logits
    return result


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_llama(tmp_path / "base", layers=2)
    return tmp_path / "base"


def test_trained_tensors_replace_the_bases_bit_by_bit(tmp_path: Path, base: Path) -> None:
    old = weights_of(base)
    trained = random_like(old, Q, DOWN)
    run = write_run(tmp_path / "run", base, trained=trained)
    report = merge(run, tmp_path / "out")
    merged = weights_of(tmp_path / "out")
    assert list(merged) == list(old)
    for name, tensor in merged.items():
        assert_same_bits(tensor, trained.get(name, old[name]))
    assert report.tensors == {"copied": len(old) - 2, "trained": 2}
    assert report.shards == 1
    assert sorted(os.listdir(tmp_path / "out")) == ["README.md", "config.json", "model.safetensors"]


def test_adapters_are_added_in_float32(tmp_path: Path, base: Path) -> None:
    old = weights_of(base)
    adapters = {Q: factors(64, 64), UP: factors(160, 64), DOWN: factors(64, 160)}
    run = write_run(tmp_path / "run", base, adapters=adapters)
    assert merge(run, tmp_path / "out").tensors["adapted"] == 3
    merged = weights_of(tmp_path / "out")
    for name, tensor in merged.items():
        if name in adapters:
            expected = old[name].double() + product(adapters[name])
            # A sum of 5 products in float32, of a size of 10: 1e-5 is about ten roundings.
            torch.testing.assert_close(tensor.double(), expected, rtol=0, atol=1e-5)
        else:
            assert_same_bits(tensor, old[name])


def test_a_bfloat16_base_stays_bfloat16_rounded_once(tmp_path: Path) -> None:
    write_llama(tmp_path / "base", layers=2, dtype="BF16")
    old = weights_of(tmp_path / "base")
    trained, adapters = random_like(old, Q), {UP: factors(160, 64)}
    run = write_run(tmp_path / "run", tmp_path / "base", trained=trained, adapters=adapters)
    merge(run, tmp_path / "out")
    merged = weights_of(tmp_path / "out")
    assert_same_bits(merged[Q], trained[Q].bfloat16())
    expected = old[UP].double() + product(adapters[UP])
    # One rounding to 8 significant bits is off by 2^-8 at most; float32's own come on top.
    torch.testing.assert_close(merged[UP].double(), expected, rtol=2**-8, atol=1e-5)
    for name in old.keys() - {Q, UP}:
        assert_same_bits(merged[name], old[name])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["torch_dtype"] == "bfloat16"


def test_a_float32_merge_of_a_bfloat16_base_keeps_the_masters(tmp_path: Path) -> None:
    write_llama(tmp_path / "base", layers=2, dtype="BF16")
    old = weights_of(tmp_path / "base")
    trained = random_like(old, Q)
    run = write_run(tmp_path / "run", tmp_path / "base", trained=trained)
    report = merge(run, tmp_path / "out", dtype="float32")
    assert report.tensors == {"converted": len(old) - 1, "trained": 1}
    for name, tensor in weights_of(tmp_path / "out").items():
        assert_same_bits(tensor, trained.get(name, old[name].float()))
    assert '"torch_dtype": "float32"' in (tmp_path / "out" / "config.json").read_text()


def test_shards_and_their_index_hold_the_same_tensors(tmp_path: Path) -> None:
    write_llama(tmp_path / "base", layers=2, shards=2)
    old = weights_of(tmp_path / "base")
    trained = random_like(old, Q)
    run = write_run(tmp_path / "run", tmp_path / "base", trained=trained)
    report = merge(run, tmp_path / "out", max_shard_bytes=200_000)
    total = sum(tensor.nbytes for tensor in old.values())
    assert report.shards > 2
    assert report.weight_bytes == total
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == total
    assert set(index["weight_map"]) == set(old)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert {path.name for path in files} == set(index["weight_map"].values())
    assert len(files) == report.shards
    assert all(path.stat().st_size < 200_000 + 5_000 for path in files)
    assert {entry.name for entry in read_folder(tmp_path / "out")} == set(old)
    for name, tensor in weights_of(tmp_path / "out").items():
        assert_same_bits(tensor, trained.get(name, old[name]))


LOADER = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model, found = AutoModelForCausalLM.from_pretrained(sys.argv[1], output_loading_info=True)
assert not any(found.values()), found
AutoTokenizer.from_pretrained(sys.argv[1])
with torch.no_grad():
    print(json.dumps(model(torch.arange(24).reshape(2, 12)).logits.tolist()))
"""


@PEFT_WARNS
def test_a_merged_model_loads_anywhere_as_what_peft_merges(tmp_path: Path) -> None:
    base = write_tiny_llama(tmp_path / "base", layers=2)  # tied: it stores no head
    torch.manual_seed(0)
    settings = LoraConfig(r=RANK, lora_alpha=int(ALPHA), target_modules=["q_proj", "down_proj"])
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "peft")
    saved = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    adapters = {
        f"{key.removeprefix('base_model.model.').removesuffix('.lora_A.weight')}.weight": (
            saved[key],
            saved[key.replace("lora_A", "lora_B")],
        )
        for key in saved
        if "lora_A" in key
    }
    run = write_run(tmp_path / "run", base, adapters=adapters)
    for name in ("adapter_model.safetensors", "adapter_config.json"):  # PEFT's own files
        shutil.copy(tmp_path / "peft" / name, run / "result" / name)
    write_manifest(run / "result", run_id="0" * 16, step=10)
    merge(run, tmp_path / "out")
    assert "lm_head.weight" not in weights_of(tmp_path / "out")
    loaded = subprocess.run(
        [sys.executable, "-c", LOADER, str(tmp_path / "out")],
        check=True,
        capture_output=True,
        text=True,
    )
    trained = logits(model.eval())
    found = torch.tensor(json.loads(loaded.stdout))
    # The bar for a merge with adapters: 1e-4 of the largest logit.
    assert (found - trained).abs().max() <= 1e-4 * trained.abs().max()
    merged = logits(model.merge_and_unload())
    assert (found - merged).abs().max() <= 1e-5 * merged.abs().max()


def quantized_model(base: Path, keeping: str, dtype: torch.dtype, kept_out: Sequence[str]) -> Any:
    """The base as transformers loads it for a run whose plan trains `kept_out`."""
    settings = (
        BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
            llm_int8_skip_modules=list(kept_out),
        )
        if keeping == "nf4"
        else BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(kept_out))
    )
    return AutoModelForCausalLM.from_pretrained(
        base, quantization_config=settings, dtype=dtype, device_map="cpu"
    )


def kept_values(module: Any) -> Tensor:
    """What a quantized layer of bitsandbytes holds, in float32, by its own means."""
    if type(module).__name__ == "Linear4bit":
        module.weight.quant_state.dtype = torch.float32
        return functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
    assert type(module).__name__ == "Linear8bitLt"
    values: Tensor = module.weight.CB.float() * module.weight.SCB[:, None] / 127
    return values


@pytest.mark.parametrize(
    ("keeping", "dtype"), [("nf4", torch.float32), ("nf4", torch.bfloat16), ("int8", torch.float32)]
)
def test_a_dequantized_merge_holds_what_the_quantized_layers_hold(
    tmp_path: Path, keeping: Any, dtype: torch.dtype
) -> None:
    base = write_tiny_llama(tmp_path / "base", layers=2, hidden=128, tied=False)
    old = weights_of(base)
    model = quantized_model(base, keeping, dtype, ["lm_head", "model.layers.0.mlp.down_proj$"])
    modules = {
        name: module
        for name, module in model.named_modules()
        if type(module).__name__ in ("Linear4bit", "Linear8bitLt")
    }
    assert len(modules) == 13
    quantized = [f"{name}.weight" for name in modules]
    trained = random_like(old, "model.layers.0.mlp.down_proj.weight")
    adapters = {UP: factors(256, 128), Q: factors(128, 128)}
    run = write_run(
        tmp_path / "run",
        base,
        trained=trained,
        adapters=adapters,
        keeping=keeping,
        quantized=quantized,
        dtype=str(dtype).removeprefix("torch."),
    )
    report = merge(run, tmp_path / "out", onto="dequantized")
    assert report.tensors == {
        "copied": len(old) - 14,
        "trained": 1,
        "adapted": 2,
        "dequantized": 11,
    }
    merged = weights_of(tmp_path / "out")
    for name, module in modules.items():
        kept = kept_values(module)
        if (stored := f"{name}.weight") in adapters:
            expected = kept.double() + product(adapters[stored])
            torch.testing.assert_close(merged[stored].double(), expected, rtol=0, atol=1e-5)
        elif keeping == "nf4":
            assert_same_bits(merged[stored], kept)
        else:  # bitsandbytes multiplies by a rounded 1/127
            torch.testing.assert_close(merged[stored], kept, rtol=1e-6, atol=0)
    onto_base = merge(run, tmp_path / "plain", onto="base")
    assert "--onto dequantized gives the very model" in onto_base.notes[0]
    expected = old[UP].double() + product(adapters[UP])
    plain = weights_of(tmp_path / "plain")[UP].double()
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-5)


TRAINED_AND_MERGED = """
import os, sys
from pathlib import Path
import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from spectrum_ft.records.plans import LoraSettings, Plan, PlanModel, PlanPolicy
from spectrum_ft.records.training import TrainSettings
from spectrum_ft.tuning.applying import apply_plan
from spectrum_ft.tuning.bases import open_base
from spectrum_ft.tuning.loading import load_for_training
from spectrum_ft.tuning.merges.merging import merge
from spectrum_ft.tuning.training import prepare_training
from transformers import AutoModelForCausalLM

folder = Path(sys.argv[1])
model, run, out = (str(folder / name) for name in ("base", "run", "out"))
lora = LoraSettings(
    matrices=("model.layers.1.mlp.up_proj.weight",), r=4, alpha=8.0, dropout=0.0
)
plan = Plan(
    model=PlanModel(source=model, fingerprint=None),
    train=("model.layers.2.mlp.down_proj.weight", "model.layers.3.self_attn.q_proj.weight"),
    lora=lora,
    base="nf4",
    policy=PlanPolicy(name="hybrid", share=None, score=None),
)
settings = TrainSettings(
    data=str(folder / "data.jsonl"), lr=1e-2, lora_lr=1e-2, batch_size=2, max_steps=4, device="cpu"
)
with prepare_training(model, plan, settings, Path(run)) as training:
    training.run()
merge(Path(run), Path(out), onto="dequantized")

loaded = load_for_training(
    open_base(model), plan, dtype=torch.float32, device=torch.device("cpu")
)
applied = apply_plan(loaded.model, plan)
applied.load_trained(load_file(f"{run}/result/trained.safetensors"))
adapter = load_file(f"{run}/result/adapter_model.safetensors")
set_peft_model_state_dict(applied.model, adapter)
for module in applied.model.modules():
    if hasattr(getattr(module, "weight", None), "quant_state"):
        module.weight.quant_state.dtype = torch.float32
applied.model.train()  # in evaluation bitsandbytes multiplies in bfloat16 where a CPU can
tokens = torch.arange(24).reshape(2, 12)
with torch.no_grad():
    trained = applied.model(tokens).logits
    merged = AutoModelForCausalLM.from_pretrained(out)(tokens).logits
    before = AutoModelForCausalLM.from_pretrained(model)(tokens).logits
largest = trained.abs().max()
assert (before - trained).abs().max() > 1e-2 * largest
assert (merged - trained).abs().max() <= 1e-4 * largest  # the bar for merges
"""


@pytest.mark.slow
def test_a_real_hybrid_run_merges_into_the_model_that_trained(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "base")
    write_messages(tmp_path / "data.jsonl")
    done = subprocess.run(
        [sys.executable, "-c", TRAINED_AND_MERGED, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr


def write_gpt2(folder: Path) -> Path:
    settings = GPT2Config(n_layer=1, n_head=2, n_embd=64, vocab_size=50, n_positions=32)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(settings).save_pretrained(folder)
    return folder


@PEFT_WARNS
@pytest.mark.filterwarnings("ignore:fan_in_fan_out:UserWarning")
def test_a_model_that_stores_its_matrices_transposed_is_merged_as_peft_does(tmp_path: Path) -> None:
    base = write_gpt2(tmp_path / "base")
    torch.manual_seed(0)
    settings = LoraConfig(r=RANK, lora_alpha=int(ALPHA), target_modules=["c_attn", "c_proj"])
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    adapters = {}
    for name, module in model.get_base_model().named_modules():
        if hasattr(module, "lora_A"):
            torch.nn.init.normal_(module.lora_B["default"].weight)
            weights = (module.lora_A["default"].weight, module.lora_B["default"].weight)
            adapters[f"{name}.weight"] = tuple(w.detach() for w in weights)
    run = write_run(tmp_path / "run", base, adapters=adapters)
    merge(run, tmp_path / "out")
    expected = model.merge_and_unload().state_dict()
    merged = weights_of(tmp_path / "out")
    assert len(adapters) == 3
    assert merged["transformer.h.0.attn.c_proj.weight"].shape == (64, 64)
    for name in adapters:
        torch.testing.assert_close(merged[name], expected[name], rtol=0, atol=1e-5)


def test_a_transposed_model_is_dequantized_the_way_it_was_quantized(tmp_path: Path) -> None:
    base = write_gpt2(tmp_path / "base")
    model = quantized_model(base, "nf4", torch.float32, ["lm_head"])
    modules = {n: m for n, m in model.named_modules() if type(m).__name__ == "Linear4bit"}
    assert len(modules) == 4
    names = [f"{name}.weight" for name in modules]
    run = write_run(tmp_path / "run", base, keeping="nf4", quantized=names, adapters={})
    merge(run, tmp_path / "out", onto="dequantized")
    merged = weights_of(tmp_path / "out")
    for name, module in modules.items():
        assert_same_bits(merged[f"{name}.weight"], kept_values(module).T.contiguous())


def test_experts_keep_their_own_names(tmp_path: Path) -> None:
    base = write_tiny_mixtral(tmp_path / "base", layers=1)
    old = weights_of(base)
    experts = [name for name in old if ".experts." in name]
    assert len(experts) == 12
    run = write_run(tmp_path / "run", base, trained=random_like(old, *experts))
    merge(run, tmp_path / "out")
    merged = weights_of(tmp_path / "out")
    assert list(merged) == list(old)
    for name, tensor in random_like(old, *experts).items():
        assert_same_bits(merged[name], tensor)
    assert torch.isfinite(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out"))).all()


@pytest.mark.parametrize("trained_name", ["lm_head.weight", "model.embed_tokens.weight"])
def test_a_tied_model_that_stores_both_stays_tied(tmp_path: Path, trained_name: str) -> None:
    base = write_tiny_llama(tmp_path / "base", layers=1, tied=True)
    old = weights_of(base)
    old["lm_head.weight"] = old["model.embed_tokens.weight"].clone()
    save_file(old, base / "model.safetensors", metadata={"format": "pt"})
    trained = random_like(old, trained_name)
    run = write_run(tmp_path / "run", base, trained=trained)
    merge(run, tmp_path / "out")
    merged = weights_of(tmp_path / "out")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        assert_same_bits(merged[name], trained[trained_name])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("also", [(), ("model.embed_tokens.weight",)], ids=["alone", "with both"])
def test_a_head_that_the_base_does_not_store_goes_into_the_embeddings(
    tmp_path: Path, also: Sequence[str]
) -> None:
    base = write_tiny_llama(tmp_path / "base", layers=1, tied=True)
    table = random_like(weights_of(base), "model.embed_tokens.weight")["model.embed_tokens.weight"]
    run = write_run(tmp_path / "run", base, trained=dict.fromkeys(["lm_head.weight", *also], table))
    merge(run, tmp_path / "out")
    merged = weights_of(tmp_path / "out")
    assert "lm_head.weight" not in merged
    assert_same_bits(merged["model.embed_tokens.weight"], table)


def test_equal_embeddings_and_head_of_an_untied_model_stay_apart(tmp_path: Path) -> None:
    base = write_tiny_llama(tmp_path / "base", layers=1, tied=False)
    old = weights_of(base)
    old["lm_head.weight"] = old["model.embed_tokens.weight"].clone()
    save_file(old, base / "model.safetensors", metadata={"format": "pt"})
    run = write_run(tmp_path / "run", base, trained=random_like(old, "lm_head.weight"))
    merge(run, tmp_path / "out")
    assert_same_bits(
        weights_of(tmp_path / "out")["model.embed_tokens.weight"], old["model.embed_tokens.weight"]
    )


def test_tensors_of_mixed_types_are_aligned_and_integers_stay(tmp_path: Path, base: Path) -> None:
    old = weights_of(base)
    old["a.position_ids"] = torch.arange(3)
    old["a.flag"] = torch.tensor([True])
    old["a.half"] = torch.tensor([0.5]).half()
    old["a.scalar"] = torch.tensor(2.0, dtype=torch.float64)
    old["a.none"] = torch.empty(0, 4)
    save_file(old, base / "model.safetensors", metadata={"format": "pt"})
    run = write_run(tmp_path / "run", base, trained=random_like(old, Q))
    merge(run, tmp_path / "auto")
    merge(run, tmp_path / "bfloat16", dtype="bfloat16")
    for name, tensor in weights_of(tmp_path / "auto").items():
        assert_same_bits(tensor, old[name] if name != Q else random_like(old, Q)[Q])
    for name, tensor in weights_of(tmp_path / "bfloat16").items():
        if old[name].is_floating_point():
            assert tensor.dtype == torch.bfloat16
        else:
            assert_same_bits(tensor, old[name])


def test_what_belongs_to_the_model_comes_along_and_nothing_else(tmp_path: Path) -> None:
    base = write_tiny_llama(tmp_path / "base", layers=1)
    table = json.loads((base / "config.json").read_text())
    table |= {"quantization_config": {"quant_method": "fp8"}, "auto_map": {"AutoConfig": "x.C"}}
    table |= {"time_step_limit": [0.0, float("inf")], "text_config": {"dtype": "float16"}}
    (base / "config.json").write_text(json.dumps(table))
    (base / "additional_chat_templates").mkdir()
    (base / "additional_chat_templates" / "tools.jinja").write_text("{{ tools }}")
    for name in ("evil.py", "training_args.bin", "optimizer.pt", "notes.txt", "LICENSE"):
        (base / name).write_text(name)
    os.mkfifo(base / "tokenizer.model")
    run = write_run(tmp_path / "run", base, trained=random_like(weights_of(base), Q))
    merge(run, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == [
        "LICENSE",
        "README.md",
        "additional_chat_templates",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in config
    assert "auto_map" not in config
    assert config["dtype"] == config["text_config"]["dtype"] == "float32"
    assert config["time_step_limit"] == [0.0, float("inf")]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(base).chat_template
    assert AutoConfig.from_pretrained(tmp_path / "out").model_type == "llama"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("someone/tiny@main", "someone/tiny"),
        ("/home/someone/models/my model", "my model"),
        ("packaged:smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"),
    ],
)
def test_the_card_tells_facts_and_no_paths(
    tmp_path: Path, base: Path, source: str, name: str
) -> None:
    run = write_run(tmp_path / "run", base, trained=random_like(weights_of(base), Q), source=source)
    merge(run, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "base_model": name,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["spectrum-ft"],
    }
    for fact in ("spectrum-ft", "25.0 %", "10 steps", "2.0000", "1.0000", "data.jsonl", "float32"):
        assert fact in body
    assert "/home" not in card
    assert str(tmp_path) not in card


def test_a_hostile_name_stays_text_in_the_card(tmp_path: Path, base: Path) -> None:
    source = "/models/`</code><script>\n---\nx: [y](z)\x1b[31m\u202e`"
    run = write_run(tmp_path / "run", base, trained=random_like(weights_of(base), Q), source=source)
    merge(run, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert card.isascii()
    assert card.splitlines().count("---") == 2
    assert "\x1b" not in card
    for line in card.splitlines():
        assert line.count("`") % 2 == 0 or line.startswith(("base_model", "```"))


# What must not be merged, and where it must not go.


def swapped(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    table = json.loads((run / "run.json").read_text())
    change(table)
    (run / "run.json").write_text(json.dumps(table))


def assert_refused(
    run: Path, output: Path, kind: type[SpectrumError], message: str, **how: Any
) -> None:
    before = sorted(os.listdir(output.parent))
    with pytest.raises(kind, match=message) as caught:
        merge(run, output, **how)
    for text in (caught.value.message, caught.value.hint or "x"):
        assert text.isprintable()
        assert len(text) <= 400
    assert sorted(os.listdir(output.parent)) == before


@pytest.fixture
def run(tmp_path: Path, base: Path) -> Path:
    old = weights_of(base)
    adapters = {UP: factors(160, 64)}
    return write_run(tmp_path / "run", base, trained=random_like(old, Q), adapters=adapters)


def test_an_unfinished_or_absent_run_is_refused_with_the_way_on(tmp_path: Path, run: Path) -> None:
    (run / "run.json").unlink()
    assert_refused(run, tmp_path / "out", CheckpointError, "holds no finished run")
    assert_refused(tmp_path / "absent", tmp_path / "out", CheckpointError, "no such folder")
    (run / "run.json").write_text("{")
    assert_refused(run, tmp_path / "out", RecordError, "not JSON")
    (run / "run.json").write_text('{"schema": "spectrum-ft/run@2"}')
    assert_refused(run, tmp_path / "out", RecordError, "newer version")


def test_a_damaged_result_is_refused_by_the_files_name(tmp_path: Path, run: Path) -> None:
    path = run / "result" / "trained.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert_refused(
        run, tmp_path / "out", CheckpointError, "trained.safetensors has another content"
    )
    path.unlink()
    assert_refused(run, tmp_path / "out", CheckpointError, "trained.safetensors is missing")


def test_an_absent_base_is_named(tmp_path: Path, run: Path, base: Path) -> None:
    base.rename(tmp_path / "moved")
    assert_refused(run, tmp_path / "out", CheckpointError, "the base that the run started from")


def test_another_base_in_the_same_place_is_refused_by_name(tmp_path: Path, run: Path) -> None:
    write_llama(tmp_path / "base", layers=2, hidden=32)
    assert_refused(run, tmp_path / "out", CheckpointError, r"q_proj\.weight is \[64, 64\], in the")
    write_llama(tmp_path / "base", layers=1, hidden=64)
    assert_refused(run, tmp_path / "out", CheckpointError, r"adapts model\.layers\.1\.mlp\.up_proj")


MISFITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "trained tensors are missing": lambda t: t["plan"]["train"].append(DOWN),
    "does not have rank 8": lambda t: t["plan"]["lora"].update(r=8),
    "lacks the adapter": lambda t: t["adapted"].update({UP: "model.other"}),
    "no adapter of the run needs": lambda t: (
        t["adapted"].clear(),
        t["plan"]["lora"].update(matrices=[]),
    ),
    "the plan does not know": lambda t: t["plan"].update(lora=None),
    "does not have: model.gone": lambda t: t.update(quantized=["model.gone"]),
    "does not have: as-is": lambda t: t.update(quantized=[UP]),
    "differ in what is adapted": lambda t: t["plan"]["lora"].update(matrices=[UP, DOWN]),
}


@pytest.mark.parametrize("message", MISFITS)
def test_a_record_that_does_not_fit_its_result_is_refused(
    tmp_path: Path, run: Path, message: str
) -> None:
    swapped(run, MISFITS[message])
    assert_refused(run, tmp_path / "out", CheckpointError, message)


@pytest.mark.parametrize(
    "settings",
    [{"use_dora": True}, {"use_rslora": True}, {"rank_pattern": {"q": 2}}, {"bias": "all"}],
    ids=str,
)
def test_an_adapter_of_another_kind_is_refused(
    tmp_path: Path, base: Path, settings: dict[str, object]
) -> None:
    run = write_run(
        tmp_path / "run", base, adapters={UP: factors(160, 64)}, adapter_settings=settings
    )
    assert_refused(run, tmp_path / "out", CheckpointError, next(iter(settings)))


def test_an_adapter_of_another_strength_is_refused(tmp_path: Path, base: Path) -> None:
    run = write_run(
        tmp_path / "run", base, adapters={UP: factors(160, 64)}, adapter_settings={"lora_alpha": 16}
    )
    assert_refused(run, tmp_path / "out", CheckpointError, "lora_alpha is not the plan's 8")


def test_a_base_without_a_readable_config_is_refused_at_once(
    tmp_path: Path, run: Path, base: Path
) -> None:
    for text, message in (("[]", "not a table"), ("{", "not JSON"), ("[" * 10**5, "not JSON")):
        (base / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            prepare_merge(run, tmp_path / "out")
    (base / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        prepare_merge(run, tmp_path / "out")


def test_an_adapter_of_another_matrix_is_refused(tmp_path: Path, base: Path) -> None:
    run = write_run(tmp_path / "run", base, adapters={UP: factors(160, 32)})
    assert_refused(run, tmp_path / "out", CheckpointError, "the shape of another matrix")


def test_values_that_are_not_finite_are_refused(tmp_path: Path, base: Path) -> None:
    trained = random_like(weights_of(base), Q)
    trained[Q][3, 4] = float("nan")
    run = write_run(tmp_path / "run", base, trained=trained)
    assert_refused(run, tmp_path / "out", CheckpointError, "not finite")


def test_a_type_that_cannot_hold_the_values_is_refused(tmp_path: Path, base: Path) -> None:
    trained = {Q: 1e6 * random_like(weights_of(base), Q)[Q]}
    run = write_run(tmp_path / "run", base, trained=trained)
    assert_refused(run, tmp_path / "out", OutputError, "float16 cannot hold", dtype="float16")


def test_a_packed_base_is_refused(tmp_path: Path, run: Path, base: Path) -> None:
    old = weights_of(base) | {"model.layers.0.x.weight": torch.ones(4, dtype=torch.uint8)}
    save_file(old, base / "model.safetensors")
    table = json.loads((base / "config.json").read_text()) | {"quantization_config": {}}
    (base / "config.json").write_text(json.dumps(table))
    assert_refused(run, tmp_path / "out", CheckpointError, "1 tensors are packed")


def test_a_target_in_or_around_what_is_read_is_refused(
    tmp_path: Path, run: Path, base: Path
) -> None:
    for target, message in (
        (run / "merged", "lies in"),
        (run, "lies in"),
        (base / "merged", "lies in"),
        (base, "lies in"),
        (tmp_path, "lies in it"),
    ):
        assert_refused(run, target, OutputError, message, force=True)


def test_a_target_that_is_there_is_spared(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    assert_refused(run, out, OutputError, "already exists")
    assert_refused(run, out, OutputError, "something else than a model", force=True)
    (tmp_path / "file").touch()
    assert_refused(run, tmp_path / "file", OutputError, "is a file", force=True)
    (tmp_path / "link").symlink_to(out)
    assert_refused(run, tmp_path / "link", OutputError, "is a link", force=True)
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "below")
    assert_refused(run, tmp_path / "here", OutputError, "the current folder", force=True)
    assert (out / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_is_filled(tmp_path: Path, run: Path) -> None:
    (tmp_path / "out").mkdir()
    merge(run, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_force_swaps_the_models_and_leaves_nothing_beside_them(tmp_path: Path, run: Path) -> None:
    merge(run, tmp_path / "out", dtype="bfloat16")
    (tmp_path / "out" / "stale.safetensors").touch()
    merge(run, tmp_path / "out", force=True)
    assert "stale.safetensors" not in os.listdir(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["base", "out", "run"]
    assert weights_of(tmp_path / "out")[Q].dtype == torch.float32


def test_too_little_room_is_told_before_anything_is_written(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nearly_full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: nearly_full)
    assert_refused(run, tmp_path / "out", OutputError, r"takes [\d,]+ bytes, 1,000 are free")


@pytest.fixture
def umask_027() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask_027")
def test_modes_follow_the_umask(tmp_path: Path, run: Path) -> None:
    merge(run, tmp_path / "new" / "out")
    assert stat.S_IMODE((tmp_path / "new" / "out").stat().st_mode) == 0o750
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "new" / "out").iterdir()}
    assert modes == dict.fromkeys(modes, 0o640)


def test_stopping_early_leaves_nothing(tmp_path: Path, run: Path) -> None:
    written = iter_merge(prepare_merge(run, tmp_path / "out"))
    next(written)
    assert len(os.listdir(tmp_path)) == 3
    written.close()
    assert sorted(os.listdir(tmp_path)) == ["base", "run"]


def test_a_base_that_changes_meanwhile_is_found_out(tmp_path: Path, run: Path, base: Path) -> None:
    written = iter_merge(prepare_merge(run, tmp_path / "out"))
    next(written)
    os.utime(base / "model.safetensors", (0, 0))
    with pytest.raises(CheckpointError, match="changed since its header was read"):
        list(written)
    assert sorted(os.listdir(tmp_path)) == ["base", "run"]


KILLED = """
import os, signal, sys
from pathlib import Path
from spectrum_ft import staging
from spectrum_ft.tuning.merges import merging

def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

exec(sys.argv[3])
for number, tensor in enumerate(merging.iter_merge(merging.prepare_merge(
    Path(sys.argv[1]), Path(sys.argv[2]), force=True, max_shard_bytes=100_000
))):
    if number == 7 and sys.argv[3] == "pass":
        die()
"""


@pytest.mark.parametrize(
    "moment",
    ["pass", "merging.write_config = die", "staging.os.fsync = die", "staging.Path.rename = die"],
)
@pytest.mark.parametrize("exists", [False, True], ids=["new", "over another"])
def test_a_kill_leaves_the_older_state(
    tmp_path: Path, run: Path, moment: str, exists: bool
) -> None:
    out = tmp_path / "out"
    if exists:
        merge(run, out, dtype="bfloat16")
    before = {path.name: path.read_bytes() for path in out.iterdir()} if exists else None
    command = [sys.executable, "-c", KILLED, str(run), str(out), moment]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    after = {path.name: path.read_bytes() for path in out.iterdir()} if exists else None
    assert before == after
    assert out.exists() is exists
    for left in tmp_path.glob(".out.*"):  # an hour later
        for path in (left, *left.rglob("*")):
            os.utime(path, (0, 0))
    merge(run, out, force=True)
    assert sorted(os.listdir(tmp_path)) == ["base", "out", "run"]


def test_a_kill_between_the_renames_loses_neither_model(tmp_path: Path, run: Path) -> None:
    out = tmp_path / "out"
    merge(run, out, dtype="bfloat16")
    moment = "rename = staging.Path.rename; staging.Path.rename = lambda *a: (rename(*a), die())"
    command = [sys.executable, "-c", KILLED, str(run), str(out), moment]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    assert len(list(tmp_path.glob(".out.*/config.json"))) == 2
    with pytest.raises(OutputError, match="appeared in the meantime"):
        merge(run, out)  # puts the old one back, and then spares it
    assert weights_of(out)[Q].dtype == torch.bfloat16


def test_a_folder_that_appears_meanwhile_is_spared(tmp_path: Path, run: Path) -> None:
    written = iter_merge(prepare_merge(run, tmp_path / "out"))
    next(written)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(OutputError, match="appeared in the meantime"):
        list(written)
    assert os.listdir(tmp_path / "out") == ["mine"]
    assert sorted(os.listdir(tmp_path)) == ["base", "out", "run"]


def test_a_merge_holds_about_one_tensor_at_a_time(tmp_path: Path) -> None:
    import tracemalloc

    write_llama(tmp_path / "base", layers=12, hidden=128)
    old = weights_of(tmp_path / "base")
    largest = max(tensor.nbytes for tensor in old.values())
    run = write_run(tmp_path / "run", tmp_path / "base", trained=random_like(old, Q))
    job = prepare_merge(run, tmp_path / "out")
    other = prepare_merge(run, tmp_path / "other")
    list(iter_merge(job))  # so that imports are done
    tracemalloc.start()
    list(iter_merge(other))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(tensor.nbytes for tensor in old.values()) > 25 * largest
    # numpy tells tracemalloc what it takes: one tensor's bytes, and a megabyte of small things.
    assert peak < largest + 2**20


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "float16"])
def test_merging_twice_gives_the_same_bytes(tmp_path: Path, run: Path, dtype: MergeDtype) -> None:
    for name in ("one", "two"):
        merge(run, tmp_path / name, dtype=dtype)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_dequantized_merge_of_an_unquantized_run_says_that_it_changes_nothing(
    tmp_path: Path, run: Path
) -> None:
    report = merge(run, tmp_path / "out", onto="dequantized")
    assert "changes nothing" in report.notes[0]
    merge(run, tmp_path / "base-merge")
    np.testing.assert_array_equal(
        weights_of(tmp_path / "out")[UP], weights_of(tmp_path / "base-merge")[UP]
    )
