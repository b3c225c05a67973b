"""Small real models for training tests: random weights, a trained tokenizer, a chat template."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MixtralConfig,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
)

from spectrum_ft.records.plans import Base, LoraSettings, Plan, PlanModel, PlanPolicy

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_TEXT = ("the quick brown fox jumps over the lazy dog", "user assistant system card payment lost")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 300 tokens with ChatML marks."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=marks,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def write_tiny_llama(
    folder: Path,
    *,
    layers: int = 4,
    hidden: int = 64,
    dropout: float = 0.0,
    tied: bool = True,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Path:
    """A Llama in `folder`, as transformers saves it."""
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_dropout=dropout,
        tie_word_embeddings=tied,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    return _write(folder, config, dtype, seed)


def write_tiny_mixtral(folder: Path, *, layers: int = 4, seed: int = 0) -> Path:
    """A Mixtral of four experts in `folder`; transformers fuses them on load."""
    config = MixtralConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    return _write(folder, config, torch.float32, seed)


_MARKS: dict[str, Any] = {"bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
_SMALL: dict[str, Any] = {
    **_MARKS,
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def tiny_config(kind: str, **changed: Any) -> Any:
    """The config of a model of two blocks of one of the kinds that differ in what matters here.

    `llama` has a head of its own, `llama-tied` shares it, `gpt2` stores its matrices transposed,
    `mixtral` and `qwen3_moe` have experts that fuse on load, `gemma2` caps its logits softly,
    `cohere` and `granite` scale them.
    """
    if kind == "gpt2":
        shape = {"vocab_size": 300, "n_positions": 128, "n_embd": 64, "n_layer": 2, "n_head": 4}
        dropout = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)
        return GPT2Config(**{**_MARKS, **shape, **dropout, **changed})
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "llama": (LlamaConfig, {"tie_word_embeddings": False}),
        "llama-tied": (LlamaConfig, {"tie_word_embeddings": True}),
        "mixtral": (MixtralConfig, {"num_local_experts": 4, "num_experts_per_tok": 2}),
        "qwen3_moe": (Qwen3MoeConfig, {**experts, "head_dim": 16}),
        # A cap of 0.1 and a scale of 4 change the tiny model's logits beyond doubt.
        "gemma2": (Gemma2Config, {"head_dim": 16, "final_logit_softcapping": 0.1}),
        "cohere": (CohereConfig, {"logit_scale": 4.0}),
        "granite": (GraniteConfig, {"logits_scaling": 0.25}),
    }
    config, own = kinds[kind]
    return config(**{**_SMALL, **own, **changed})


def write_tiny(
    folder: Path, kind: str, *, dtype: torch.dtype = torch.float32, seed: int = 0, **changed: Any
) -> Path:
    """A model of two blocks in `folder`, see `tiny_config`; `changed` are entries of its config."""
    return _write(folder, tiny_config(kind, **changed), dtype, seed)


def plan_of(
    *train: str,
    adapted: Sequence[str] = (),
    base: Base = "as-is",
    dropout: float = 0.0,
    fingerprint: str | None = None,
) -> Plan:
    """A plan that trains `train`, with adapters of rank 4 on `adapted`."""
    lora = LoraSettings(matrices=tuple(adapted), r=4, alpha=8.0, dropout=dropout)
    return Plan(
        model=PlanModel(source="tiny", fingerprint=fingerprint),
        train=train,
        lora=lora if adapted else None,
        base=base,
        policy=PlanPolicy(name="made", share=None, score=None),
    )


def _write(folder: Path, config: Any, dtype: torch.dtype, seed: int) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).to(dtype)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def write_messages(path: Path, count: int = 48) -> Path:
    """`count` short conversations as JSONL, no two alike."""
    import json

    words = " ".join(_TEXT).split()
    lines = []
    for i in range(count):
        asked = " ".join(words[(i * 3 + k) % len(words)] for k in range(3 + i % 5))
        told = " ".join(words[(i * 7 + k) % len(words)] for k in range(1 + i % 3))
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
        lines.append(json.dumps({"messages": messages}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
