"""bitsandbytes' 4-bit weights, made by bitsandbytes and by transformers, and damaged by hand."""

import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import bitsandbytes.functional as bnb
import numpy as np
import pytest
import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from bitsandbytes.backends.utils import _get_4bit_code
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from packed_checkpoints import (
    four_bit_tensors,
    is_linear,
    random_matrix,
    reason_of,
    recognised,
    stored,
    values_of,
)
from spectrum_ft.checkpoints.checkpoint import content_digest, open_checkpoint, read_bytes
from spectrum_ft.checkpoints.dequantizing import decode
from spectrum_ft.checkpoints.packing.recognising import recognise
from spectrum_ft.checkpoints.tensors import TensorEntry
from tiny_models import write_tiny_llama

Tensors = dict[str, torch.Tensor]
STATE = "a.weight.quant_state.bitsandbytes__nf4"


def unpacked(folder: Path, tensors: Tensors) -> np.ndarray[Any, np.dtype[np.float32]]:
    entries = recognised(folder, tensors)
    assert list(entries) == ["a.weight"]
    return values_of(entries["a.weight"])


def by_its_portable_formula(values: torch.Tensor, code: str, block_size: int) -> torch.Tensor:
    """What bitsandbytes' implementation without kernels makes of its own quantization.

    Its CPU kernel (0.50.2) lets blocks begin anew in each row, which its quantization does not.
    """
    packed, state = bnb.quantize_4bit(values, blocksize=block_size, quant_type=code)
    codes = _get_4bit_code(code, packed.device)
    shape = tuple(values.shape)
    flat = packed.reshape(-1)
    result: torch.Tensor = _dequantize_4bit_compute(
        flat, state.absmax, codes, block_size, shape, torch.float32
    )
    return result


@pytest.mark.parametrize("block_size", [64, 128, 256, 4096])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_rows_of_whole_blocks_come_out_exactly_as_bitsandbytes_has_them(
    tmp_path: Path, code: str, nested: bool, block_size: int
) -> None:
    # 17 blocks of nested scales for the smallest, and not a whole number of them for any.
    weight = random_matrix(67, 4096)
    options: dict[str, Any] = {"blocksize": block_size, "quant_type": code}
    packed, state = bnb.quantize_4bit(weight, compress_statistics=nested, **options)
    expected = bnb.dequantize_4bit(packed, state).numpy()
    tensors = four_bit_tensors("a.weight", weight, code=code, nested=nested, block_size=block_size)
    assert np.array_equal(unpacked(tmp_path, tensors), expected)


@pytest.mark.parametrize("shape", [(192, 320), (7, 33), (1, 1), (5,), (2, 3, 64), (300, 1000)])
@pytest.mark.parametrize("block_size", [64, 128])
@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_blocks_may_go_on_in_the_next_row(
    tmp_path: Path, code: str, block_size: int, shape: tuple[int, ...]
) -> None:
    weight = random_matrix(*shape)
    tensors = four_bit_tensors("a.weight", weight, code=code, block_size=block_size)
    entry = recognised(tmp_path, tensors)["a.weight"]
    if shape == (2, 3, 64) and block_size == 128:
        assert "share scales" in reason_of(entry)
        return
    values = values_of(entry)
    expected = by_its_portable_formula(weight, code, block_size)
    assert np.array_equal(values, expected.reshape(shape).numpy())
    # No wider than the widest gap of either code, a third of the block's largest.
    assert np.abs(values - weight.numpy()).max() <= 0.17 * weight.abs().max().item()


@pytest.mark.parametrize("storage", [torch.bfloat16, torch.float16, torch.float32, torch.int8])
def test_bytes_under_the_name_of_another_type_are_still_bytes(
    tmp_path: Path, storage: torch.dtype
) -> None:
    weight = random_matrix(64, 128)
    plain = unpacked(tmp_path, four_bit_tensors("a.weight", weight))
    other = four_bit_tensors("a.weight", weight, storage=storage)
    assert other["a.weight"].dtype == storage
    assert np.array_equal(unpacked(tmp_path, other), plain)


def test_without_its_scales_a_line_of_floats_is_no_matrix(tmp_path: Path) -> None:
    packed = four_bit_tensors("a.weight", random_matrix(64, 128), storage=torch.bfloat16)
    config = {"load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16"}
    entry = recognised(tmp_path, {"a.weight": packed["a.weight"]}, config)["a.weight"]
    assert reason_of(entry) == "4-bit weights (bitsandbytes) without scales"


def test_the_line_of_bytes_may_be_a_row_or_a_column(tmp_path: Path) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(64, 128))
    turned = {**tensors, "a.weight": tensors["a.weight"].reshape(1, -1)}
    assert np.array_equal(unpacked(tmp_path, turned), unpacked(tmp_path, tensors))


@pytest.mark.parametrize("nested", [False, True])
def test_stacked_matrices_come_apart(tmp_path: Path, nested: bool) -> None:
    weight = random_matrix(3, 128, 256)
    entry = recognised(tmp_path, four_bit_tensors("experts.up", weight, nested=nested))[
        "experts.up"
    ]
    assert entry.shape == (3, 128, 256)
    whole = values_of(entry)
    for index in range(3):
        part = entry.part(index)
        assert part.shape == (128, 256)
        assert np.array_equal(values_of(part), whole[index])


def test_names_and_shapes_of_a_saved_model_are_those_of_the_original(tmp_path: Path) -> None:
    original = write_tiny_llama(tmp_path / "original", layers=2)
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    model = AutoModelForCausalLM.from_pretrained(
        original, quantization_config=config, dtype=torch.float32, device_map="cpu"
    )
    model.save_pretrained(tmp_path / "packed")
    packed = open_checkpoint(str(tmp_path / "packed"))
    plain = open_checkpoint(str(original))
    assert [(e.name, e.shape) for e in packed.entries] == [(e.name, e.shape) for e in plain.entries]
    stored_as = {entry.name: entry.dtype for entry in packed.entries}
    assert {name for name, dtype in stored_as.items() if dtype == "NF4"} == set(
        filter(is_linear, stored_as)
    )
    modules = dict(model.named_modules())
    for entry in packed.entries:
        if is_linear(entry.name):
            parameter = modules[entry.name.removesuffix(".weight")].weight
            expected = bnb.dequantize_4bit(parameter.data, parameter.quant_state).float().numpy()
            assert np.array_equal(values_of(entry), expected)


def test_the_offset_counts_as_content(tmp_path: Path) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(64, 64), nested=True)
    digests = set()
    for offset in (0.05, 0.06):
        entry = recognised(tmp_path, with_state(tensors, nested_offset=offset))["a.weight"]
        digests.add(content_digest(read_bytes(entry), entry))
    assert len(digests) == 2


def state_of(tensors: Tensors) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(bytes(tensors[STATE].numpy()))
    return table


def with_state(tensors: Tensors, **changed: object) -> Tensors:
    table = {k: v for k, v in {**state_of(tensors), **changed}.items() if v != "absent"}
    return {**tensors, STATE: as_bytes(json.dumps(table).encode())}


def as_bytes(text: bytes) -> torch.Tensor:
    return torch.tensor(list(text), dtype=torch.uint8)


@pytest.mark.parametrize(
    "changed",
    [
        {"shape": [64, 65]},
        {"shape": [64, -64]},
        {"shape": [64.0, 64]},
        {"shape": [True, 4096]},
        {"shape": []},
        {"shape": None},
        {"shape": "64x64"},
        {"shape": [2**62, 2**62]},
        {"shape": [0, 64]},
        {"shape": [1] * 100},
        {"shape": "absent"},
        {"blocksize": 63},
        {"blocksize": 0},
        {"blocksize": 128},
        {"blocksize": True},
        {"blocksize": "64"},
        {"blocksize": "absent"},
        {"quant_type": "fp4"},
        {"quant_type": ["nf4"]},
        {"quant_type": "absent"},
        {"nested_blocksize": 3},
        {"nested_blocksize": 64},
        {"nested_blocksize": "absent"},
        {"nested_offset": "absent"},
        {"nested_offset": "0"},
        {"nested_offset": True},
        {"nested_offset": [1.0]},
    ],
)
def test_a_state_that_lies_is_a_reason(tmp_path: Path, changed: dict[str, object]) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(160, 128), nested=True)
    entries = recognised(tmp_path, with_state(tensors, **changed))
    assert list(entries) == ["a.weight"]
    assert reason_of(entries["a.weight"]).startswith("4-bit weights (bitsandbytes): ")


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" ", b"{", b"[]", b"null", b"7", b"\xff", b"[" * 4000, b" " * 5000),
        *(b'{"shape": [1,', b'{"a": NaN}', b'{"a": 1, "a": 2}'),
        b'{"blocksize": 1' + b"0" * 4000 + b"}",
    ],
)
def test_a_state_that_is_no_table_is_a_reason(tmp_path: Path, text: bytes) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(64, 64))
    entries = recognised(tmp_path, {**tensors, STATE: as_bytes(text)})
    assert "quant_state" in reason_of(entries["a.weight"])


@pytest.mark.parametrize("nested", [False, True])
def test_each_part_that_is_missing_is_named(tmp_path: Path, nested: bool) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(160, 128), nested=nested)
    for name in tensors.keys() - {"a.weight"}:
        kept = {key: tensor for key, tensor in tensors.items() if key != name}
        entries = recognised(tmp_path, kept)
        assert list(entries) == ["a.weight"]
        reason = reason_of(entries["a.weight"])
        assert ("quant_state" if name == STATE else name.rsplit(".", 1)[1]) in reason


@pytest.mark.parametrize("nested", [False, True])
def test_each_part_of_another_shape_or_type_is_a_reason(tmp_path: Path, nested: bool) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(160, 128), nested=nested)
    for name in tensors.keys() - {STATE}:
        for damaged in (tensors[name][:-1], tensors[name].to(torch.int32)):
            if name == "a.weight" and damaged.dtype != torch.uint8:
                damaged = torch.cat([tensors[name], tensors[name][:2]])
            entries = recognised(tmp_path, {**tensors, name: damaged})
            assert reason_of(entries["a.weight"]).startswith("4-bit weights (bitsandbytes): ")


def test_two_states_are_none(tmp_path: Path) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(64, 64))
    both = {**tensors, STATE.replace("nf4", "fp4"): tensors[STATE].clone()}
    assert "2 quant_state" in reason_of(recognised(tmp_path, both)["a.weight"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["absmax", "nested_absmax", "quant_map", "nested_quant_map"])
def test_a_scale_that_is_no_number_gives_no_number(tmp_path: Path, part: str, bad: float) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(64, 64), nested="nested" in part)
    tensors[f"a.weight.{part}"] = torch.full_like(tensors[f"a.weight.{part}"], bad)
    assert not np.isfinite(unpacked(tmp_path, tensors)).any()


def test_another_code_than_the_name_says_gives_no_number(tmp_path: Path) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(64, 64))
    tensors["a.weight.quant_map"] = tensors["a.weight.quant_map"].flip(0)
    assert np.isnan(unpacked(tmp_path, tensors)).all()


def test_a_block_of_zeros_has_a_scale_of_zero(tmp_path: Path) -> None:
    tensors = four_bit_tensors("a.weight", torch.zeros(64, 64))
    assert np.array_equal(unpacked(tmp_path, tensors), np.zeros((64, 64)))


def test_an_offset_beyond_float32_gives_no_number(tmp_path: Path) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(64, 64), nested=True)
    assert not np.isfinite(unpacked(tmp_path, with_state(tensors, nested_offset=1e200))).any()


@settings(derandomize=True, max_examples=100, deadline=None)
@given(text=st.binary(max_size=200))
def test_any_bytes_for_a_state_are_a_reason(text: bytes) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(8, 64))
    with tempfile.TemporaryDirectory() as folder:
        entries = recognise(stored(Path(folder), {**tensors, STATE: as_bytes(text)}), {})
        assert reason_of(next(entry for entry in entries if entry.name == "a.weight"))


def test_unpacking_holds_little_beside_the_result(tmp_path: Path) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(2048, 2048), nested=True)
    entry = recognised(tmp_path, tensors)["a.weight"]
    assert peak_beside_the_result(entry) < 6 << 20


def peak_beside_the_result(entry: TensorEntry) -> int:
    raw = read_bytes(entry)
    tracemalloc.start()
    try:
        decode(raw, entry)
        return tracemalloc.get_traced_memory()[1] - 4 * entry.num_params
    finally:
        tracemalloc.stop()


def test_companions_belong_to_the_weight_and_to_what_is_read_for_it(tmp_path: Path) -> None:
    tensors = four_bit_tensors("a.weight", random_matrix(160, 128), nested=True)
    entry = recognised(tmp_path, tensors)["a.weight"]
    saved = load_file(tmp_path / "model.safetensors")
    assert {other.name for other in entry.companions} == saved.keys() - {"a.weight"}
    assert entry.stored_bytes == sum(tensor.nbytes for tensor in saved.values())
