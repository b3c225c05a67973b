"""Which tensors make up a weight, which weights are refused and why; hostile files and configs."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from packed_checkpoints import (
    eight_bit_tensors,
    float8_tensors,
    four_bit_tensors,
    is_linear,
    mxfp4_tensors,
    random_matrix,
    reason_of,
    recognised,
    stored,
    values_of,
    write_4_bit_llama,
    write_float8_llama,
)
from spectrum_ft.checkpoints.checkpoint import fingerprint, open_checkpoint
from spectrum_ft.checkpoints.packing.recognising import recognise
from spectrum_ft.checkpoints.packing.settings import quantization_settings
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.checkpoints.weight_files import LocalFile

INTS = torch.ones(8, 8, dtype=torch.int32)
HALF = torch.ones(2, 8, dtype=torch.float16)
SCAN_INSTEAD = "scan the model that it was made from"


def test_a_checkpoint_without_quantized_weights_is_left_as_it_is(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.ones(4, 4), "a.bias": torch.ones(4), "ids": INTS}
    entries = stored(tmp_path, tensors)
    assert recognise(entries, {}) == entries


def test_every_scheme_in_one_file_and_the_order_of_the_file(tmp_path: Path) -> None:
    values = random_matrix(128, 128)
    tensors = {
        **float8_tensors("a.weight", values),
        **four_bit_tensors("b.weight", values, nested=True),
        **eight_bit_tensors("c", values),
        **mxfp4_tensors("d", 2, 8, 3),
        "e.weight": values,
    }
    entries = stored(tmp_path, tensors)
    found = recognise(entries, {})
    order = [entry.name.removesuffix("_blocks") for entry in entries]
    names = [entry.name for entry in found]
    assert set(names) == {"a.weight", "b.weight", "c.weight", "d", "e.weight"}
    assert sorted(names, key=order.index) == names
    assert {entry.dtype for entry in found} == {"F8_E4M3", "NF4", "INT8", "MXFP4", "float32"}


@pytest.mark.parametrize("write", [write_float8_llama, write_4_bit_llama])
def test_a_quantized_model_has_the_fingerprint_of_the_original(tmp_path: Path, write: Any) -> None:
    values = write(tmp_path / "packed", layers=1)
    checkpoint = open_checkpoint(str(tmp_path / "packed"))
    assert {entry.name: entry.shape for entry in checkpoint.entries} == {
        name: value.shape for name, value in values.items()
    }
    for entry in checkpoint.entries:
        if is_linear(entry.name):
            worst = np.abs(values_of(entry) - values[entry.name]).max()
            # Half the widest gap of NF4 is 0.152 of the largest; of E4M3, 1/16 of the value.
            assert worst <= 0.16 * np.abs(values[entry.name]).max()
    assert len(fingerprint(checkpoint.entries)) == 64


@pytest.mark.parametrize(
    ("method", "weight", "others", "start"),
    [
        ("gptq", "qweight", ["qzeros", "scales", "g_idx"], "GPTQ (qweight): "),
        ("awq", "qweight", ["qzeros", "scales"], "AWQ (qweight): "),
        (None, "qweight", ["qzeros", "scales"], "GPTQ or AWQ (qweight): "),
        ("hqq", "W_q", ["scale", "zero", "shape"], "HQQ (W_q): "),
        ("aqlm", "codes", ["codebooks", "scales"], "AQLM (codes): "),
        (
            "compressed-tensors",
            "weight_packed",
            ["weight_scale", "weight_shape", "weight_zero_point", "weight_global_scale"],
            "packed by compressed-tensors (weight_packed): ",
        ),
        ("compressed-tensors", "compressed", ["bitmask", "shape"], "sparse (compressed): "),
        ("vptq", "indices", ["centroids", "weight_scale"], "VPTQ (indices): "),
        ("exl2", "q_weight", ["q_scale", "q_groups"], "EXL2 (q_weight): "),
        ("exl3", "trellis", ["suh", "svh"], "EXL3 (trellis): "),
        ("quip", "Qidxs", ["SU", "SV"], "QUIP (Qidxs): "),
        ("quanto", "weight._data", ["weight._scale"], "quanto (weight._data): "),
        ("torchao", "_weight_qdata", ["_weight_scale"], "torchao (_weight_qdata): "),
    ],
)
def test_schemes_that_are_not_unpacked_say_what_to_scan_instead(
    tmp_path: Path, method: str | None, weight: str, others: list[str], start: str
) -> None:
    module = "model.layers.0.mlp.up_proj."
    tensors = {module + weight: INTS, **{module + other: HALF.clone() for other in others}}
    plain = {"model.layers.0.norm.weight": torch.ones(8), "lm_head.weight": torch.ones(8, 8)}
    quantization = {"quant_method": method} if method else None
    entries = recognised(tmp_path, {**tensors, **plain}, quantization)
    assert set(entries) == {*tensors, *plain}
    assert reason_of(entries[module + weight]) == start + SCAN_INSTEAD
    for other in others:
        reason = reason_of(entries[module + other])
        assert reason.startswith(f"belongs to {weight}") or reason == "a scale, not a weight"
    assert all(entries[name].packing is None for name in plain)


@pytest.mark.parametrize(
    ("method", "dtype", "others"),
    [
        ("compressed-tensors", torch.int8, ["weight_scale"]),
        ("modelopt", torch.uint8, ["weight_scale", "weight_scale_2"]),
        ("eetq", torch.int8, ["weight_scales"]),
        ("bitnet", torch.uint8, ["weight_scale"]),
        (None, torch.uint32, ["scales", "biases"]),
        ("something new", torch.int16, []),
        ("fp8", torch.int8, ["scale"]),
    ],
)
def test_integers_with_scales_or_a_method_are_not_scored(
    tmp_path: Path, method: str | None, dtype: torch.dtype, others: list[str]
) -> None:
    tensors = {"a.weight": torch.ones(8, 8).to(dtype), "b.weight": torch.ones(8, 8)}
    tensors |= {f"a.{other}": HALF.clone() for other in others}
    quantization = {"quant_method": method} if method else None
    entries = recognised(tmp_path, tensors, quantization)
    assert reason_of(entries["a.weight"]).endswith(SCAN_INSTEAD)
    assert (method or "quantized") in reason_of(entries["a.weight"])
    assert all("weight" in reason_of(entries[f"a.{other}"]) for other in others)
    assert entries["b.weight"].packing is None


def test_a_scale_that_is_left_over_is_no_matrix(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.ones(8, 8), "a.weight_scale": torch.ones(8, 1)}
    tensors |= {"b.weight_scale_inv": torch.ones(8, 8)}
    entries = recognised(tmp_path, tensors)
    assert entries["a.weight"].packing is None
    assert reason_of(entries["a.weight_scale"]) == "a scale, not a weight"
    assert reason_of(entries["b.weight_scale_inv"]) == "a scale, not a weight"


def test_plain_integers_elsewhere_are_left_alone(tmp_path: Path) -> None:
    names = ["rotary.position_ids", "a.codes", "b.indices", "c.compressed", "weights", "weight"]
    entries = recognised(tmp_path, {name: INTS.clone() for name in names})
    assert all(entry.packing is None for entry in entries.values())


CONFIGS: list[Mapping[str, Any]] = [
    {},
    {"quantization_config": None},
    {"quantization_config": "fp8"},
    {"quantization_config": []},
    {"quantization_config": {"quant_method": 7, "weight_block_size": None}},
    {"quantization_config": {"quant_method": {"a": 1}, "config_groups": [1, 2]}},
    {"quantization_config": {"config_groups": {"g": None, "h": {"weights": 3}}}},
    {"quantization_config": {"config_groups": {"g": {"weights": {"group_size": None}}}}},
    {"text_config": {"quantization_config": {"weight_block_size": None}}},
    {1: 2, "x": {"y": {"z": 1}}},  # type: ignore[dict-item]  # no JSON, but no harm either
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_that_says_nothing_leaves_the_default_block(config: Mapping[str, Any]) -> None:
    assert quantization_settings(config).blocks == ((128, 128),)


@pytest.mark.parametrize(
    ("table", "blocks"),
    [
        ({"weight_block_size": [64, 128]}, ((64, 128),)),
        ({"config_groups": {"g": {"weights": {"group_size": 32}}}}, ((1, 32),)),
        ({"config_groups": {"g": {"weights": {"block_structure": "64x32"}}}}, ((64, 32),)),
        ({"config_groups": {"g": {"weights": {"block_structure": [64, 32]}}}}, ((64, 32),)),
        ({"config_groups": {"g": {"weights": {"block_structure": "64xx"}}}}, ()),
        ({"config_groups": {"g": {"weights": {"block_structure": "9" * 10**6}}}}, ()),
        ({"config_groups": {"g": {"weights": {"group_size": "32"}}}}, ()),
        ({"config_groups": {"g": {"weights": {"group_size": [[]]}}}}, ()),
        ({"weight_block_size": [[128], 128]}, ()),
    ],
)
def test_the_blocks_that_a_config_names(
    table: Mapping[str, Any], blocks: tuple[tuple[int, int], ...]
) -> None:
    assert quantization_settings({"quantization_config": table}).blocks == blocks


def test_a_method_with_strange_signs_is_quoted_and_cut(tmp_path: Path) -> None:
    method = "evil\x1b[31m\n" + "x" * 10_000
    entry = recognised(tmp_path, {"a.weight": INTS}, {"quant_method": method})["a.weight"]
    assert "evil\\x1b[31m\\n" in reason_of(entry)


def test_a_name_with_strange_signs_is_quoted_and_cut(tmp_path: Path) -> None:
    name = "x" * 1000 + "\x1b[31m\n"
    tensors = {f"{name}_blocks": torch.ones(1, 8, 2, 16, dtype=torch.uint8)}
    assert reason_of(recognised(tmp_path, tensors)[name])


def test_a_hundred_thousand_tensors_take_less_than_two_seconds() -> None:
    file = LocalFile(path=Path("model"))

    def entry(name: str, dtype: str, *shape: int) -> TensorEntry:
        size = int(np.prod(shape)) * (4 if dtype == "float32" else 1)
        return TensorEntry(name=name, shape=shape, dtype=dtype, file=file, offset=0, num_bytes=size)

    entries = []
    for number in range(25_000):
        module = f"model.layers.{number}.mlp.experts.{number}.up_proj"
        entries.append(entry(f"{module}.weight", "F8_E4M3", 256, 256))
        entries.append(entry(f"{module}.weight_scale_inv", "float32", 2, 2))
        entries.append(entry(f"{module}.qweight", "I32", 256, 256))
        entries.append(entry(f"{module}.scales", "float32", 2, 2))
    begin = time.process_time()
    found = recognise(entries, {"quantization_config": {"weight_block_size": [128, 128]}})
    assert time.process_time() - begin < 2
    assert len(found) == 75_000
