"""8-bit floats: every byte, every way in which scales are laid out, and what is no answer."""

import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

from packed_checkpoints import (
    float8_tensors,
    random_matrix,
    reason_of,
    recognised,
    stored,
    values_of,
)
from spectrum_ft.checkpoints.checkpoint import read_bytes
from spectrum_ft.checkpoints.dequantizing import decode
from spectrum_ft.checkpoints.packing.recognising import recognise

TYPES = {
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}
SCALE_TYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float8_e8m0fnu]


FP8 = {"quant_method": "fp8"}


def random_float8(*shape: int, seed: int = 0) -> torch.Tensor:
    """Finite 8-bit floats, all equally likely."""
    chance = torch.Generator().manual_seed(seed)
    magnitudes = torch.randint(0, 0x7F, shape, generator=chance)
    signs = 0x80 * torch.randint(0, 2, shape, generator=chance)
    return (magnitudes + signs).to(torch.uint8).view(torch.float8_e4m3fn)


def random_scale(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Scales of the size that weights have."""
    chance = torch.Generator().manual_seed(7)
    return torch.exp2(-6 - 4 * torch.rand(shape, generator=chance)).to(dtype)


def widened(scale: torch.Tensor, height: int, width: int, rows: int, columns: int) -> torch.Tensor:
    """A grid of scales, each repeated over its block, by torch alone."""
    scale = scale.to(torch.float32)
    return scale.repeat_interleave(height, -2).repeat_interleave(width, -1)[..., :rows, :columns]


@pytest.mark.parametrize("word", TYPES)
def test_all_256_bytes_mean_what_torch_says(tmp_path: Path, word: str) -> None:
    weight = torch.arange(256, dtype=torch.uint8).view(16, 16).view(TYPES[word])
    entry = recognised(tmp_path, {"a.weight": weight, "a.weight_scale": torch.ones(1)})["a.weight"]
    assert entry.dtype == word
    assert np.array_equal(values_of(entry), weight.float().numpy(), equal_nan=True)


@pytest.mark.parametrize("dtype", SCALE_TYPES)
@pytest.mark.parametrize("name", ["weight_scale_inv", "weight_scale", "scale", "qscale_weight"])
def test_blocks_are_scaled_as_transformers_scales_them(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    weight, scale = random_float8(512, 256), random_scale(4, 2, dtype=dtype)
    entries = recognised(tmp_path, {"a.weight": weight, f"a.{name}": scale})
    expected = Fp8Dequantize(None)._dequantize_one(weight, scale, torch.float32)
    assert list(entries) == ["a.weight"]
    assert entries["a.weight"].shape == (512, 256)
    assert np.array_equal(values_of(entries["a.weight"]), expected.numpy())


@pytest.mark.parametrize("block", [(128, 128), (64, 32), (1, 128), (100, 7)])
def test_blocks_that_do_not_divide_the_weight_end_early(
    tmp_path: Path, block: tuple[int, int]
) -> None:
    height, width = block
    weight = random_float8(300, 517)
    scale = random_scale(-(-300 // height), -(-517 // width))
    tensors = {"a.weight": weight, "a.weight_scale_inv": scale}
    quantization = {"quant_method": "fp8", "weight_block_size": list(block)}
    entry = recognised(tmp_path, tensors, quantization)["a.weight"]
    expected = weight.float() * widened(scale, height, width, 300, 517)
    assert np.array_equal(values_of(entry), expected.numpy())


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_scale_is_for_the_whole_tensor(tmp_path: Path, shape: tuple[int, ...]) -> None:
    weight, scale = random_float8(300, 200), random_scale(*shape)
    entry = recognised(tmp_path, {"a.weight": weight, "a.weight_scale": scale})["a.weight"]
    assert np.array_equal(values_of(entry), (weight.float() * scale.reshape(())).numpy())


@pytest.mark.parametrize("shape", [(300,), (300, 1)])
def test_as_many_scales_as_rows_are_one_for_each(tmp_path: Path, shape: tuple[int, ...]) -> None:
    weight, scale = random_float8(300, 300), random_scale(*shape)
    entry = recognised(tmp_path, {"a.weight": weight, "a.weight_scale": scale})["a.weight"]
    assert np.array_equal(values_of(entry), (weight.float() * scale.reshape(300, 1)).numpy())


def test_scales_that_keep_the_axes_of_their_blocks_are_those_of_modelopt(tmp_path: Path) -> None:
    weight, scale = random_float8(256, 384), random_scale(2, 1, 3, 1)
    entry = recognised(tmp_path, {"a.weight": weight, "a.weight_scale": scale})["a.weight"]
    expected = weight.float() * widened(scale.reshape(2, 3), 128, 128, 256, 384)
    assert np.array_equal(values_of(entry), expected.numpy())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float8_e8m0fnu])
def test_a_byte_for_32_weights_is_a_power_of_two(tmp_path: Path, dtype: torch.dtype) -> None:
    powers = torch.randint(110, 130, (40, 6), dtype=torch.uint8)
    weight = random_float8(40, 192)
    tensors = {"a.weight": weight, "a.weight_scale": powers.view(dtype)}
    entry = recognised(tmp_path, tensors)["a.weight"]
    expected = Fp8Dequantize(None)._dequantize_one(weight, powers, torch.float32)
    assert np.array_equal(values_of(entry), expected.numpy())


def test_compressed_tensors_may_name_its_groups(tmp_path: Path) -> None:
    weight, scale = random_float8(16, 192), random_scale(16, 3)
    groups = {"group_0": {"weights": {"num_bits": 8, "strategy": "group", "group_size": 64}}}
    quantization = {"quant_method": "compressed-tensors", "config_groups": groups}
    tensors = {"a.weight": weight, "a.weight_scale": scale}
    entry = recognised(tmp_path, tensors, quantization)["a.weight"]
    expected = weight.float() * widened(scale, 1, 64, 16, 192)
    assert np.array_equal(values_of(entry), expected.numpy())


@pytest.mark.parametrize("end", ["_scale_inv", "_scale", "_weight_scale"])
@pytest.mark.parametrize("shape", [(3, 2, 3), (3, 1, 1), (3,), (1,), (), (3, 256, 1), (3, 1, 384)])
def test_experts_in_one_tensor_are_scaled_each_for_itself(
    tmp_path: Path, shape: tuple[int, ...], end: str
) -> None:
    weight, scale = random_float8(3, 256, 384), random_scale(*shape)
    name = "layers.0.mlp.experts.gate_up_proj"
    entries = recognised(tmp_path, {name: weight, f"{name}{end}": scale})
    if shape == (3, 2, 3):
        wide = widened(scale, 128, 128, 256, 384)
    else:
        wide = scale if len(shape) == 3 else scale.reshape(-1, 1, 1)
    expected = (weight.float() * wide).numpy()
    assert list(entries) == [name]
    assert np.array_equal(values_of(entries[name]), expected)
    for index in range(3):
        part = entries[name].part(index)
        assert part.shape == (256, 384)
        assert np.array_equal(values_of(part), expected[index])


@pytest.mark.parametrize(("rows", "method"), [(96, "fbgemm_fp8"), (64, "fbgemm_fp8"), (96, None)])
def test_the_scales_of_turned_experts_are_those_of_their_columns(
    tmp_path: Path, rows: int, method: str | None
) -> None:
    weight, scale = random_float8(2, rows, 64), random_scale(2, 64, 1)
    quantization = {"quant_method": method} if method else None
    tensors = {"experts.down_proj": weight, "experts.down_proj_scale": scale}
    entry = recognised(tmp_path, tensors, quantization)["experts.down_proj"]
    assert np.array_equal(values_of(entry), (weight.float() * scale.mT).numpy())


def test_other_scales_in_a_module_are_left_alone(tmp_path: Path) -> None:
    others = {"attn.k_scale": torch.ones(()), "attn.v_scale": torch.ones(())}
    tensors = {"a.weight": random_float8(8, 8), "a.weight_scale": torch.ones(1), **others}
    entries = recognised(tmp_path, tensors)
    assert set(entries) == {"a.weight", *others}
    assert all(entries[name].packing is None for name in others)


def test_a_missing_scale_is_a_reason(tmp_path: Path) -> None:
    entry = recognised(tmp_path, {"a.weight": random_float8(8, 8)})["a.weight"]
    assert reason_of(entry) == "8-bit floats (F8_E4M3): its scale is missing"


def test_two_scales_are_no_scale(tmp_path: Path) -> None:
    scales = {"a.weight_scale": torch.ones(1), "a.weight_scale_inv": torch.ones(1)}
    entries = recognised(tmp_path, {"a.weight": random_float8(8, 8), **scales})
    assert "both weight_scale_inv and weight_scale" in reason_of(entries["a.weight"])


@pytest.mark.parametrize("extra", ["zero_point", "scale_2"])
def test_what_the_formula_has_no_place_for_is_a_reason(tmp_path: Path, extra: str) -> None:
    tensors = {"a.weight_scale": torch.ones(1), f"a.weight_{extra}": torch.ones(1)}
    entries = recognised(tmp_path, {"a.weight": random_float8(8, 8), **tensors})
    assert f"weight_{extra} beside its scale" in reason_of(entries["a.weight"])


@pytest.mark.parametrize(
    "shape", [(2, 2), (3, 1), (256,), (1, 1, 2), (2, 3, 1), (0,), (0, 2), (300, 200), (2, 1, 1, 1)]
)
def test_scales_that_do_not_fit_are_named_with_both_shapes(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    tensors = {"a.weight": random_float8(300, 100), "a.weight_scale_inv": torch.ones(shape)}
    if shape == (3, 1):  # the one that fits
        assert values_of(recognised(tmp_path, tensors, FP8)["a.weight"]).shape == (300, 100)
        return
    reason = reason_of(recognised(tmp_path, tensors, FP8)["a.weight"])
    assert f"weight_scale_inv {list(shape)} does not fit a weight [300, 100]" in reason


def test_scales_that_may_mean_two_things_are_a_reason(tmp_path: Path) -> None:
    groups = {
        str(n): {"weights": {"block_structure": [n, n]}} for n in (100, 128)
    }  # both make a grid of 3 x 2
    tensors = {"a.weight": random_float8(300, 200), "a.weight_scale": torch.ones(3, 2)}
    reason = reason_of(recognised(tmp_path, tensors, {"config_groups": groups})["a.weight"])
    assert "may stand for blocks of 100 x 100 or 128 x 128" in reason
    square = {"e.up": random_float8(2, 64, 64), "e.up_scale": torch.ones(2, 64, 1)}
    reason = reason_of(recognised(tmp_path, square)["e.up"])
    assert "may stand for blocks of 1 x 64 or 64 x 1" in reason
    named = recognised(tmp_path, square, {"quant_method": "compressed-tensors"})
    assert values_of(named["e.up"]).shape == (2, 64, 64)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float8_e4m3fn, torch.bool, torch.uint8])
def test_scales_of_the_wrong_type_are_a_reason(tmp_path: Path, dtype: torch.dtype) -> None:
    scale = torch.ones(3, 1).to(dtype)
    entries = recognised(tmp_path, {"a.weight": random_float8(300, 64), "a.weight_scale": scale})
    assert "weight_scale" in reason_of(entries["a.weight"])


@pytest.mark.parametrize(
    "block", ["x", [], [128], [0, 128], [128, -1], [128.0, 128], [True, 1], [2**40, 128], {}, 5]
)
def test_a_block_size_that_is_none_leaves_no_guess(tmp_path: Path, block: object) -> None:
    tensors = {"a.weight": random_float8(256, 256), "a.weight_scale_inv": torch.ones(2, 2)}
    entry = recognised(tmp_path, tensors, {"weight_block_size": block})["a.weight"]
    assert "does not fit" in reason_of(entry)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_a_scale_that_is_no_scale_gives_no_number(tmp_path: Path, bad: float) -> None:
    scale = torch.ones(2, 2)
    scale[1, 0] = bad
    tensors = {"a.weight": torch.full((256, 200), 2.0).to(torch.float8_e4m3fn)}
    entry = recognised(tmp_path, {**tensors, "a.weight_scale_inv": scale}, FP8)["a.weight"]
    values = values_of(entry)
    assert not np.isfinite(values[128:, :128]).any()
    assert np.array_equal(values[:128], np.full((128, 200), 2.0))


def test_a_block_of_zeros_may_have_a_scale_of_zero(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.zeros(8, 8).to(torch.float8_e4m3fn)}
    entry = recognised(tmp_path, {**tensors, "a.weight_scale": torch.zeros(1)})["a.weight"]
    assert np.array_equal(values_of(entry), np.zeros((8, 8)))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0,), (2, 0, 3)])
def test_a_weight_without_values_has_none_to_scale(tmp_path: Path, shape: tuple[int, ...]) -> None:
    tensors = {"a.weight": torch.zeros(shape).to(torch.float8_e4m3fn)}
    entry = recognised(tmp_path, {**tensors, "a.weight_scale": torch.ones(1)})["a.weight"]
    assert reason_of(entry) == "8-bit floats (F8_E4M3): it holds no values"


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    weight=st.lists(st.integers(0, 300), max_size=4),
    scale=st.lists(st.integers(0, 40), max_size=4),
)
def test_any_two_shapes_give_values_or_a_reason(weight: list[int], scale: list[int]) -> None:
    if np.prod(weight, dtype=object) > 10**6 or np.prod(scale, dtype=object) > 10**6:
        return
    with tempfile.TemporaryDirectory() as folder:
        tensors = {
            "a.weight": torch.ones(weight).to(torch.float8_e4m3fn),
            "a.weight_scale": torch.full(scale, 2.0),
        }
        (entry,) = recognise(stored(Path(folder), tensors), {})
        assert entry.packing is not None
        if entry.packing.reason is None:
            assert np.array_equal(values_of(entry), np.full(weight, 2.0, np.float32))
        else:
            assert reason_of(entry)


def test_unpacking_holds_little_beside_the_result(tmp_path: Path) -> None:
    tensors = float8_tensors("a.weight", random_matrix(2000, 2100))
    entry = recognised(tmp_path, tensors, FP8)["a.weight"]
    raw = read_bytes(entry)
    tracemalloc.start()
    try:
        decode(raw, entry)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - 4 * entry.num_params < 4 << 20
