"""MXFP4 experts against transformers' own unpacking."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from packed_checkpoints import mxfp4_tensors, reason_of, recognised, values_of
from spectrum_ft.checkpoints.checkpoint import read_bytes
from spectrum_ft.checkpoints.dequantizing import decode

UP = "model.layers.0.mlp.experts.gate_up_proj"


def by_transformers(tensors: dict[str, torch.Tensor], name: str = UP) -> NDArray[np.float32]:
    blocks, scales = tensors[f"{name}_blocks"], tensors[f"{name}_scales"]
    unpacked: torch.Tensor = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    return unpacked.numpy()


@pytest.mark.parametrize(
    ("experts", "rows", "groups"), [(3, 40, 5), (1, 1, 1), (2, 700, 90), (4, 33, 2)]
)
def test_experts_come_out_exactly_as_transformers_has_them(
    tmp_path: Path, experts: int, rows: int, groups: int
) -> None:
    tensors = mxfp4_tensors(UP, experts, rows, groups)
    bias = {f"{UP}_bias": torch.zeros(experts, rows)}
    entries = recognised(tmp_path, {**tensors, **bias}, {"quant_method": "mxfp4"})
    expected = by_transformers(tensors)
    assert set(entries) == {UP, f"{UP}_bias"}
    assert entries[UP].dtype == "MXFP4"
    assert entries[UP].shape == (experts, 32 * groups, rows) == expected.shape
    assert np.array_equal(values_of(entries[UP]), expected)
    for index in range(experts):
        part = entries[UP].part(index)
        assert part.shape == (32 * groups, rows)
        assert np.array_equal(values_of(part), expected[index])


def test_every_byte_and_every_power_of_two_that_is_in_range_is_exact(tmp_path: Path) -> None:
    blocks = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 252, 16, 16)
    scales = torch.arange(252, dtype=torch.uint8).view(1, 252, 1).expand(1, 252, 16)
    tensors = {f"{UP}_blocks": blocks.contiguous(), f"{UP}_scales": scales.contiguous()}
    values = values_of(recognised(tmp_path, tensors)[UP])
    assert np.array_equal(values, by_transformers(tensors))
    magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    code = magnitudes + [-value for value in magnitudes]
    for power in (0, 1, 127, 251):  # by hand: the lower half of a byte comes first
        expected = [code[(i // 2) % 16 if i % 2 == 0 else i // 32] for i in range(512)]
        assert np.array_equal(values[0, :, power], np.array(expected) * 2.0 ** (power - 127))


def test_a_scale_that_is_no_number_gives_no_number(tmp_path: Path) -> None:
    tensors = mxfp4_tensors(UP, 2, 4, 3)
    tensors[f"{UP}_scales"][1, 2, 1] = 255
    values = values_of(recognised(tmp_path, tensors)[UP])
    assert np.isnan(values[1, 32:64, 2]).all()
    assert np.isfinite(np.delete(values, 1, 0)).all()


def test_the_files_of_openai_are_the_same_the_other_way_round(tmp_path: Path) -> None:
    tensors = mxfp4_tensors(UP, 3, 40, 5)
    name = "block.0.mlp.mlp1_weight"
    renamed = {f"{name}.{key.rsplit('_', 1)[1]}": tensor for key, tensor in tensors.items()}
    entries = recognised(tmp_path, renamed)
    assert list(entries) == [name]
    assert entries[name].shape == (3, 40, 160)
    assert np.array_equal(values_of(entries[name]), by_transformers(tensors).swapaxes(1, 2))
    assert np.array_equal(values_of(entries[name].part(2)), by_transformers(tensors)[2].T)


def test_one_matrix_in_blocks_is_not_turned(tmp_path: Path) -> None:
    tensors = mxfp4_tensors("a.weight", 1, 40, 5)
    flat = {name: tensor[0] for name, tensor in tensors.items()}
    entry = recognised(tmp_path, flat)["a.weight"]
    assert entry.shape == (40, 160)
    assert np.array_equal(values_of(entry), by_transformers(tensors, "a.weight")[0].T)


@pytest.mark.parametrize(
    "scales",
    [
        None,
        torch.ones(3, 40, 4, dtype=torch.uint8),
        torch.ones(3, 200, dtype=torch.uint8),
        torch.ones(3, 40, 5),
        torch.ones(3, 40, 5, dtype=torch.int8),
    ],
)
def test_scales_that_are_missing_or_do_not_fit_are_a_reason(
    tmp_path: Path, scales: torch.Tensor | None
) -> None:
    tensors = mxfp4_tensors(UP, 3, 40, 5)
    del tensors[f"{UP}_scales"]
    extra = {} if scales is None else {f"{UP}_scales": scales}
    entries = recognised(tmp_path, {**tensors, **extra})
    assert list(entries) == [UP]
    assert reason_of(entries[UP]).startswith("MXFP4 blocks: gate_up_proj_scales ")
    assert reason_of(entries[UP].part(0)) == reason_of(entries[UP])


def test_blocks_beside_the_weight_that_they_would_be_stay_what_they_are(tmp_path: Path) -> None:
    tensors = mxfp4_tensors("a.weight", 1, 40, 5)
    entries = recognised(tmp_path, {**tensors, "a.weight": torch.ones(4, 4)})
    assert set(entries) == {"a.weight", "a.weight_blocks", "a.weight_scales"}
    assert reason_of(entries["a.weight_blocks"]) == "integers (U8) are not weights"
    assert entries["a.weight"].packing is None


@pytest.mark.parametrize("shape", [(3, 40, 5, 15), (16,), (40, 16), (1, 3, 40, 5, 16)])
def test_blocks_of_another_shape_are_plain_integers(tmp_path: Path, shape: tuple[int, ...]) -> None:
    entries = recognised(tmp_path, {"a_blocks": torch.ones(shape, dtype=torch.uint8)})
    assert reason_of(entries["a_blocks"]) == "integers (U8) are not weights"


def test_experts_without_values_are_empty(tmp_path: Path) -> None:
    assert values_of(recognised(tmp_path, mxfp4_tensors(UP, 3, 0, 5))[UP]).shape == (3, 160, 0)


def test_unpacking_holds_little_beside_the_result(tmp_path: Path) -> None:
    entry = recognised(tmp_path, mxfp4_tensors(UP, 2, 1500, 45))[UP]
    raw = read_bytes(entry)
    tracemalloc.start()
    try:
        decode(raw, entry)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - 4 * entry.num_params < 4 << 20
