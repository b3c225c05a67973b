"""Quantized weights and checkpoints made on the spot, by the libraries whose formats they are."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from making import write_llama
from spectrum_ft.checkpoints.checkpoint import read_bytes
from spectrum_ft.checkpoints.dequantizing import decode, unreadable_reason
from spectrum_ft.checkpoints.packing.recognising import recognise
from spectrum_ft.checkpoints.safetensors_file import read_safetensors_header
from spectrum_ft.checkpoints.tensors import TensorEntry

Tensors = Mapping[str, torch.Tensor]


def stored(folder: Path, tensors: Tensors) -> tuple[TensorEntry, ...]:
    """The tensors written to a safetensors file in `folder`, as its header lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return read_safetensors_header(path)


def recognised(
    folder: Path, tensors: Tensors, quantization: Mapping[str, object] | None = None
) -> dict[str, TensorEntry]:
    """The model's weights by name, after `tensors` were written to a file and recognised in it."""
    config = {} if quantization is None else {"quantization_config": quantization}
    return {entry.name: entry for entry in recognise(stored(folder, tensors), config)}


def values_of(entry: TensorEntry) -> NDArray[np.float32]:
    """The values of a weight that can be unpacked, read from its file."""
    assert unreadable_reason(entry) is None
    values = decode(read_bytes(entry), entry)
    assert values.dtype == np.float32
    assert values.shape == entry.shape
    return values.astype(np.float32, copy=False)


def reason_of(entry: TensorEntry) -> str:
    """Why a weight cannot be unpacked: one printable line."""
    reason = unreadable_reason(entry)
    assert reason is not None
    assert reason.isprintable()
    assert len(reason) <= 300
    return reason


def random_matrix(*shape: int, seed: int = 0) -> torch.Tensor:
    """Float32 noise of the size that weights have."""
    return 0.02 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def float8_tensors(
    name: str, values: torch.Tensor, block: tuple[int, int] = (128, 128)
) -> dict[str, torch.Tensor]:
    """A weight (rows, columns) in 8-bit floats with a scale for each block, as in DeepSeek-V3."""
    height, width = block
    rows, columns = values.shape
    padded = torch.nn.functional.pad(values, (0, -columns % width, 0, -rows % height))
    tiles = padded.view(-1, height, -(-columns // width), width)
    scales = tiles.abs().amax((1, 3)).clamp(min=1e-12) / 448
    quantized = (tiles / scales[:, None, :, None]).flatten(2).flatten(0, 1)[:rows, :columns]
    return {name: quantized.to(torch.float8_e4m3fn), f"{name}_scale_inv": scales}


def four_bit_tensors(
    name: str,
    values: torch.Tensor,
    *,
    code: str = "nf4",
    block_size: int = 64,
    nested: bool = False,
    storage: torch.dtype = torch.uint8,
) -> dict[str, torch.Tensor]:
    """A weight as bitsandbytes stores it in 4 bits."""
    import bitsandbytes.functional as bnb

    packed, state = bnb.quantize_4bit(
        values,
        blocksize=block_size,
        compress_statistics=nested,
        quant_type=code,
        quant_storage=storage,
    )
    parts = {f"{name}.{part}": tensor for part, tensor in state.as_dict(packed=True).items()}
    return {name: packed, **parts}


def eight_bit_tensors(module: str, values: torch.Tensor) -> dict[str, torch.Tensor]:
    """The weight of `module` as bitsandbytes stores it in 8 bits."""
    import bitsandbytes.functional as bnb

    quantized, scales, _ = bnb.int8_vectorwise_quant(values.half())
    return {
        f"{module}.weight": quantized,
        f"{module}.SCB": scales,
        f"{module}.weight_format": torch.tensor(0, dtype=torch.uint8),
    }


def mxfp4_tensors(
    name: str, num_experts: int, rows: int, groups: int, *, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Random experts as gpt-oss stores them, with powers of two that weights have."""
    chance = torch.Generator().manual_seed(seed)
    shape = (num_experts, rows, groups)
    return {
        f"{name}_blocks": torch.randint(0, 256, (*shape, 16), generator=chance, dtype=torch.uint8),
        f"{name}_scales": torch.randint(115, 125, shape, generator=chance, dtype=torch.uint8),
    }


def write_float8_llama(
    folder: Path, *, layers: int = 4, hidden: int = 256, block: tuple[int, int] = (128, 128)
) -> dict[str, NDArray[np.floating]]:
    """The original values of a tiny Llama, written to `folder` with its blocks in 8-bit floats."""
    values = write_llama(folder, layers=layers, hidden=hidden)
    tensors: dict[str, torch.Tensor] = {}
    for name, value in values.items():
        tensor = torch.from_numpy(np.ascontiguousarray(value, np.float32))
        tensors |= float8_tensors(name, tensor, block) if is_linear(name) else {name: tensor}
    _rewrite(folder, tensors, {"quant_method": "fp8", "weight_block_size": list(block)})
    return values


def write_4_bit_llama(
    folder: Path, *, layers: int = 4, hidden: int = 256, nested: bool = True
) -> dict[str, NDArray[np.floating]]:
    """The original values of a tiny Llama, written to `folder` with its blocks in NF4."""
    values = write_llama(folder, layers=layers, hidden=hidden)
    tensors: dict[str, torch.Tensor] = {}
    for name, value in values.items():
        tensor = torch.from_numpy(np.ascontiguousarray(value, np.float32))
        packed = four_bit_tensors(name, tensor, nested=nested) if is_linear(name) else None
        tensors |= packed or {name: tensor}
    _rewrite(folder, tensors, {"quant_method": "bitsandbytes", "load_in_4bit": True})
    return values


def is_linear(name: str) -> bool:
    """Whether quantizers take a Llama's tensor of this name."""
    return name.endswith("_proj.weight")


def _rewrite(folder: Path, tensors: Tensors, quantization: Mapping[str, object]) -> None:
    stored(folder, tensors)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}))
