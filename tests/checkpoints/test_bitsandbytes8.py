"""bitsandbytes' 8-bit weights, made by bitsandbytes and by transformers, and damaged by hand."""

from pathlib import Path

import bitsandbytes.functional as bnb
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from packed_checkpoints import (
    eight_bit_tensors,
    is_linear,
    random_matrix,
    reason_of,
    recognised,
    values_of,
)
from spectrum_ft.checkpoints.checkpoint import open_checkpoint
from tiny_models import write_tiny_llama


@pytest.mark.parametrize("shape", [(64, 64), (300, 1000), (1, 7), (5, 1)])
@pytest.mark.parametrize("has_format", [False, True])
def test_rows_come_out_exactly_as_bitsandbytes_has_them(
    tmp_path: Path, shape: tuple[int, int], has_format: bool
) -> None:
    tensors = eight_bit_tensors("a", random_matrix(*shape))
    if not has_format:
        del tensors["a.weight_format"]
    entries = recognised(tmp_path, tensors)
    expected = bnb.int8_vectorwise_dequant(tensors["a.weight"], tensors["a.SCB"])
    by_hand = tensors["a.weight"].double() * tensors["a.SCB"].double()[:, None] / 127
    assert list(entries) == ["a.weight"]
    assert entries["a.weight"].dtype == "INT8"
    assert np.array_equal(values_of(entries["a.weight"]), expected.numpy())
    np.testing.assert_allclose(values_of(entries["a.weight"]), by_hand.numpy(), rtol=2e-7)


def test_names_and_shapes_of_a_saved_model_are_those_of_the_original(tmp_path: Path) -> None:
    original = write_tiny_llama(tmp_path / "original", layers=2)
    model = AutoModelForCausalLM.from_pretrained(
        original,
        quantization_config=BitsAndBytesConfig(load_in_8bit=True),
        dtype=torch.float32,
        device_map="cpu",
    )
    model.save_pretrained(tmp_path / "packed")
    packed = open_checkpoint(str(tmp_path / "packed"))
    plain = open_checkpoint(str(original))
    assert [(e.name, e.shape) for e in packed.entries] == [(e.name, e.shape) for e in plain.entries]
    dtypes = {entry.name: entry.dtype for entry in packed.entries}
    assert {name for name, dtype in dtypes.items() if dtype == "INT8"} == set(
        filter(is_linear, dtypes)
    )


@pytest.mark.parametrize(
    ("number", "order"), [(1, "col32"), (2, "col_turing"), (3, "col_ampere"), (9, "9")]
)
def test_tiles_of_old_kernels_are_a_reason(tmp_path: Path, number: int, order: str) -> None:
    tensors = eight_bit_tensors("a", random_matrix(8, 8))
    tensors["a.weight_format"] = torch.tensor(number, dtype=torch.uint8)
    entries = recognised(tmp_path, tensors)
    assert list(entries) == ["a.weight"]
    assert f"stored in the order {order}" in reason_of(entries["a.weight"])


@pytest.mark.parametrize(
    "changed",
    [
        {"a.SCB": torch.ones(7)},
        {"a.SCB": torch.ones(8, 8)},
        {"a.SCB": torch.ones(8, dtype=torch.int32)},
        {"a.SCB": torch.ones(())},
        {"a.weight": torch.ones(8, 8, dtype=torch.uint8)},
        {"a.weight": torch.ones(8, 8)},
        {"a.weight": torch.ones(8, dtype=torch.int8)},
        {"a.weight": torch.ones(8, 2, 4, dtype=torch.int8)},
        {"a.weight_format": torch.zeros(2, dtype=torch.uint8)},
        {"a.weight_format": torch.zeros((), dtype=torch.int64)},
        {"a.weight_format": torch.zeros(0, dtype=torch.uint8)},
    ],
)
def test_parts_of_another_shape_or_type_are_a_reason(
    tmp_path: Path, changed: dict[str, torch.Tensor]
) -> None:
    entries = recognised(tmp_path, {**eight_bit_tensors("a", random_matrix(8, 8)), **changed})
    assert reason_of(entries["a.weight"]).startswith("8-bit weights (bitsandbytes): ")


def test_without_scales_integers_are_a_reason(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.ones(8, 8, dtype=torch.int8)}
    entry = recognised(tmp_path, tensors, {"quant_method": "bitsandbytes"})["a.weight"]
    assert reason_of(entry) == "integers of bitsandbytes (I8) whose scales are missing"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_scale_that_is_no_number_gives_no_number(tmp_path: Path, bad: float) -> None:
    tensors = eight_bit_tensors("a", random_matrix(8, 8))
    tensors["a.SCB"][3] = bad
    values = values_of(recognised(tmp_path, tensors)["a.weight"])
    assert not np.isfinite(values[3]).any()
    assert np.isfinite(np.delete(values, 3, 0)).all()
