"""GGUF files converted to transformers' form: a tiny one made here, and a real one."""

import logging
import os
import shutil
import socket
import stat
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import gguf
import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from spectrum_ft.checkpoints.packaged import packaged_path
from spectrum_ft.errors import CheckpointError
from spectrum_ft.tuning.gguf_base import convert_gguf

LAYERS, HIDDEN, INNER, HEADS = 2, 32, 64, 4
TOKENS = ["<s>", "</s>", *"abcdefgh", "ab", "cd"]
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
SHAPES = {
    "attn_norm": (HIDDEN,),
    "ffn_norm": (HIDDEN,),
    "attn_q": (HIDDEN, HIDDEN),
    "attn_k": (HIDDEN, HIDDEN),
    "attn_v": (HIDDEN, HIDDEN),
    "attn_output": (HIDDEN, HIDDEN),
    "ffn_gate": (INNER, HIDDEN),
    "ffn_up": (INNER, HIDDEN),
    "ffn_down": (HIDDEN, INNER),
}
MLP = {"ffn_gate": "gate_proj", "ffn_up": "up_proj", "ffn_down": "down_proj"}


def write_tiny_gguf(path: Path, *, without: str = "", architecture: str = "llama") -> Path:
    """A llama of two layers with Q8_0 matrices, a tokenizer of twelve tokens and a template."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3] + [1] * (len(TOKENS) - 2))
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(TEMPLATE)
    rng = np.random.default_rng(0)
    shapes = {f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in SHAPES.items()}
    shapes |= {"token_embd": (len(TOKENS), HIDDEN), "output_norm": (HIDDEN,)}
    for name, shape in shapes.items():
        weight = rng.standard_normal(shape, dtype=np.float32)
        kind = gguf.GGMLQuantizationType.F32 if len(shape) == 1 else gguf.GGMLQuantizationType.Q8_0
        if name != without:
            writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def mlp_matrices(path: Path) -> Iterator[tuple[str, Any]]:
    """The MLP matrices as the gguf package decodes them, under transformers' names."""
    for tensor in gguf.GGUFReader(path).tensors:
        parts = str(tensor.name).split(".")  # blk.LAYER.KIND.weight, or NAME.weight
        if len(parts) == 4 and parts[2] in MLP:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            yield f"model.layers.{parts[1]}.mlp.{MLP[parts[2]]}.weight", values


def assert_mlp_is_exact(folder: Path, source: Path, count: int) -> None:
    stored = load_file(folder / "model.safetensors")
    assert {str(tensor.dtype) for tensor in stored.values()} == {"torch.float32"}
    compared = [np.array_equal(stored[name], values) for name, values in mlp_matrices(source)]
    assert compared == [True] * count


def greedy(folder: Path, prompt: str, num_tokens: int) -> str:
    """What the folder's model says next, loaded as anybody would load it."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(prompt, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=num_tokens, do_sample=False)
    text: str = tokenizer.decode(output[0][inputs.input_ids.shape[1] :], skip_special_tokens=True)
    return text


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPECTRUM_FT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> NoReturn:
        raise AssertionError("converting a local file reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
def test_a_converted_file_loads_in_plain_transformers(cache: Path, tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny (Q8_0).gguf")
    folder = convert_gguf(source)
    assert folder.parent == cache / "converted"
    assert folder.name.startswith("tiny_Q8_0_-")
    assert sorted(os.listdir(folder)) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert "quantization" not in (folder / "config.json").read_text()
    assert str(tmp_path) not in "".join(path.read_text() for path in folder.glob("*.json"))
    assert (folder / "chat_template.jinja").read_text() == TEMPLATE
    assert_mlp_is_exact(folder, source, 3 * LAYERS)
    _, found = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(found.values())
    assert set(greedy(folder, "abcd", 4)) <= set("abcdefgh")


def test_converting_is_silent_and_leaves_settings_as_they_were(
    cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    transformers_logging.set_verbosity(logging.INFO)
    stderr, filters = sys.stderr, list(warnings.filters)
    try:
        convert_gguf(write_tiny_gguf(tmp_path / "tiny.gguf"))
        assert transformers_logging.get_verbosity() == logging.INFO
    finally:
        transformers_logging.set_verbosity_warning()
    assert capfd.readouterr() == ("", "")
    assert (sys.stderr, list(warnings.filters)) == (stderr, filters)


def test_a_file_is_converted_once_wherever_it_lies(cache: Path, tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        folder = convert_gguf(write_tiny_gguf(tmp_path / "tiny.gguf"))
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(modes, 0o640)
    before = folder.stat()
    (tmp_path / "moved").mkdir()
    moved = shutil.copy(tmp_path / "tiny.gguf", tmp_path / "moved" / "tiny.gguf")
    assert convert_gguf(Path(moved)) == folder
    assert folder.stat() == before
    assert os.listdir(cache / "converted") == [folder.name]


def test_what_lies_beside_the_file_is_not_read(cache: Path, tmp_path: Path) -> None:
    code = tmp_path / "evil.py"
    code.write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()\n")
    for name in ("config.json", "tokenizer_config.json"):
        (tmp_path / name).write_text(
            '{"auto_map": {"AutoConfig": "evil.C", "AutoTokenizer": "evil.T"}}'
        )
    folder = convert_gguf(write_tiny_gguf(tmp_path / "tiny.gguf"))
    assert "auto_map" not in "".join(path.read_text() for path in folder.glob("*.json"))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"without": "blk.1.ffn_up"}, "lacks 1 of the model's tensors"),
        ({"architecture": "nobodys"}, "transformers cannot convert this GGUF"),
    ],
)
def test_a_file_that_cannot_be_converted_is_refused(
    cache: Path, tmp_path: Path, fault: dict[str, str], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        convert_gguf(write_tiny_gguf(tmp_path / "tiny.gguf", **fault))
    assert os.listdir(cache / "converted") == []


def test_a_missing_file_is_told(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.gguf: cannot be read \(No such file"):
        convert_gguf(tmp_path / "none.gguf")


@pytest.mark.slow
def test_a_real_model_keeps_its_weights_and_its_wits(smollm2: Path) -> None:
    assert_mlp_is_exact(smollm2, packaged_path("smollm2-135m"), 90)
    prompt = AutoTokenizer.from_pretrained(smollm2).apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert greedy(smollm2, prompt, 10) == "The capital of France is Paris."
