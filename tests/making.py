"""Small checkpoints made on the spot: real ones of the Llama kind, and files made by hand."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from spectrum_ft.errors import SpectrumError

StoredAs = Literal["F32", "BF16", "F16", "F64"]
Floats = NDArray[np.floating[Any]]

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
"""What goes before a command to run it as a user who owns nothing."""

_NUMPY = {"F32": np.float32, "F16": np.float16, "F64": np.float64}


def write_llama(
    folder: Path,
    *,
    layers: int = 6,
    hidden: int = 64,
    seed: int = 0,
    dtype: StoredAs = "F32",
    shards: int = 1,
    overrides: Mapping[str, Floats] | None = None,
) -> dict[str, Floats]:
    """The values of a tiny Llama written to `folder`, as they are stored, by tensor name.

    One `model.safetensors`, or `shards` of them and an index; `config.json` beside it. `overrides`
    replace tensors, or come on top. float64 where stored so, else float32.
    """
    values = llama_values(layers=layers, hidden=hidden, seed=seed) | dict(overrides or {})
    stored = {name: _as_stored(value, dtype) for name, value in values.items()}
    folder.mkdir(parents=True, exist_ok=True)
    names = list(stored)
    files = {"model.safetensors": names}
    if shards > 1:
        parts = np.array_split(np.arange(len(names)), shards)
        files = {
            f"model-{number:05d}-of-{shards:05d}.safetensors": [names[i] for i in part]
            for number, part in enumerate(parts, start=1)
        }
        write_index(folder, {name: file for file, held in files.items() for name in held})
    for file, held in files.items():
        _write(folder / file, {name: stored[name] for name in held}, dtype)
    (folder / "config.json").write_text(json.dumps(_llama_config(layers, hidden, dtype)))
    return stored


def llama_values(*, layers: int, hidden: int, seed: int) -> dict[str, Floats]:
    """Float32 weights of a tiny Llama: noise with a few strong directions, as trained ones have."""
    chance = np.random.default_rng(seed)
    inner, kv, vocabulary = 5 * hidden // 2, hidden // 2, 4 * hidden
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    values = {"model.embed_tokens.weight": _noise(chance, vocabulary, hidden)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        for kind, shape in shapes.items():
            values[f"{prefix}.{kind}.weight"] = _trained(chance, *shape)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            values[f"{prefix}.{norm}.weight"] = np.ones(hidden, dtype=np.float32)
    values["model.norm.weight"] = np.ones(hidden, dtype=np.float32)
    values["lm_head.weight"] = _noise(chance, vocabulary, hidden)
    return values


def _noise(chance: np.random.Generator, rows: int, columns: int) -> Floats:
    return 0.02 * chance.standard_normal((rows, columns), dtype=np.float32)


def _trained(chance: np.random.Generator, rows: int, columns: int) -> Floats:
    num_directions = int(chance.integers(1, 6))
    # The largest singular value of the noise: what is planted stands out, by 1.2 to 4 times.
    edge = 0.02 * (np.sqrt(rows) + np.sqrt(columns))
    strengths = edge * chance.uniform(1.2, 4.0, num_directions)
    left = np.linalg.qr(chance.standard_normal((rows, num_directions)))[0]
    right = np.linalg.qr(chance.standard_normal((columns, num_directions)))[0]
    planted = (left * strengths) @ right.T
    values: Floats = (_noise(chance, rows, columns) + planted).astype(np.float32)
    return values


def _llama_config(layers: int, hidden: int, dtype: StoredAs) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": 5 * hidden // 2,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 4 * hidden,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": False,
        "torch_dtype": {"BF16": "bfloat16", "F16": "float16", "F64": "float64"}.get(
            dtype, "float32"
        ),
    }


def to_bfloat16(values: Floats) -> NDArray[np.uint16]:
    """The upper halves of float32 numbers, rounded to nearest even."""
    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def _as_stored(values: Floats, dtype: StoredAs) -> Floats:
    if dtype == "BF16":
        return (to_bfloat16(values).astype("<u4") << 16).view("<f4")
    narrowed = values.astype(_NUMPY[dtype])
    return narrowed if dtype == "F64" else narrowed.astype(np.float32)


def _write(path: Path, values: Mapping[str, Floats], dtype: StoredAs) -> None:
    if dtype != "BF16":
        table = {name: np.ascontiguousarray(v, dtype=_NUMPY[dtype]) for name, v in values.items()}
        save_file(table, path, metadata={"format": "pt"})
        return
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    end = 0
    for name, value in values.items():
        parts.append(to_bfloat16(value).tobytes())
        header[name] = tensor_info("BF16", value.shape, end)
        end += len(parts[-1])
    path.write_bytes(raw_safetensors(header, b"".join(parts)))


BYTES_PER_WEIGHT = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}


def tensor_info(dtype: str, shape: tuple[int, ...], begin: int = 0) -> dict[str, object]:
    """What a safetensors header says of one tensor whose bytes begin at `begin`."""
    num_bytes = BYTES_PER_WEIGHT[dtype] * int(np.prod(shape, dtype=object))
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, begin + num_bytes]}


def raw_safetensors(header: bytes | Mapping[str, object], data: bytes = b"") -> bytes:
    """A safetensors file with this header and this data, consistent or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def write_index(folder: Path, weight_map: Mapping[str, object]) -> Path:
    """The index of a sharded checkpoint in `folder`, written."""
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))
    return path


def assert_fit_to_show(error: SpectrumError, path: Path) -> None:
    """Assert that a refusal names the file `path`, says what to do, and fits on a terminal."""
    assert str(path) in error.message
    assert error.hint
    for text in (error.message, error.hint):
        assert text.isprintable()
        assert len(text) <= 400


def runs_as_root() -> bool:
    """Whether this process may read and write whatever it likes."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
