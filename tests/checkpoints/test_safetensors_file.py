"""Headers of safetensors files: the same verdicts as the format's own reader, or stricter ones."""

import json
import os
import re
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open

from making import (
    assert_fit_to_show,
    raw_safetensors,
    runs_as_root,
    tensor_info,
    write_llama,
)
from spectrum_ft.checkpoints.checkpoint import open_checkpoint, read_bytes, read_tensor
from spectrum_ft.checkpoints.file_reading import read_range
from spectrum_ft.checkpoints.safetensors_file import MAX_HEADER_BYTES, read_safetensors_header
from spectrum_ft.errors import CheckpointError

F32 = tensor_info("F32", (2, 3))
DATA = bytes(range(24))
DEEP = 100_000


def one(data: bytes = DATA, **changes: object) -> bytes:
    """A file of one float32 tensor of 2 x 3, with some of its fields changed."""
    return raw_safetensors({"t": {**F32, **changes}}, data)


def without(field: str) -> bytes:
    return raw_safetensors({"t": {key: F32[key] for key in F32 if key != field}}, DATA)


def named(*infos: tuple[str, dict[str, object]], data: bytes = DATA) -> bytes:
    """A file whose header lists these tensors in this order, a name twice if need be."""
    listed = ", ".join(f"{json.dumps(name)}: {json.dumps(info)}" for name, info in infos)
    return raw_safetensors(f"{{{listed}}}".encode(), data)


def claims(length: int, behind: bytes = b"{}") -> bytes:
    return struct.pack("<Q", length) + behind


REFUSED = {
    "ST-02 0 bytes": (b"", "too short"),
    "ST-02 1 byte": (b"\x80", "too short"),
    "ST-02 7 bytes": (bytes(7), "too short for a safetensors file (7 bytes)"),
    "ST-02 8 bytes": (claims(640, b""), "truncated: the header takes 640 bytes"),
    "ST-03 2^64-1": (claims(2**64 - 1), "18,446,744,073,709,551,615 bytes; at most"),
    "ST-03 2^63": (claims(2**63), "9,223,372,036,854,775,808 bytes; at most"),
    "ST-03 over the limit": (claims(100_000_001), "100,000,001 bytes; at most"),
    "ST-04 longer than the file": (claims(3), "truncated: the header takes 3 bytes"),
    # The low byte of these lengths is how a pickle, a page and JSON text begin.
    "ST-04 length of 0x80": (claims(0x80), "truncated: the header takes 128 bytes"),
    "ST-04 length of 0x3c": (claims(0x3C), "truncated: the header takes 60 bytes"),
    "ST-04 length of 0x7b": (claims(0x7B), "truncated: the header takes 123 bytes"),
    "ST-05 a byte short": (one(DATA[:-1]), "truncated: 1 bytes of tensor data are missing"),
    "ST-05 a byte long": (one(DATA + b"\0"), "1 unexpected bytes after the last tensor"),
    "ST-05 a zip behind it": (one(DATA + b"PK\x05\x06" + bytes(18)), "22 unexpected bytes"),
    "ST-06 LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a Git LFS pointer",
    ),
    "ST-07 HTML page": (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML or XML page"),
    "ST-07 JSON page": (b'{"error": "Repository not found"}', "JSON text"),
    "ST-07 zip": (b"PK\x03\x04" + bytes(4) + b"\x08\x08" + bytes(40), "a zip archive"),
    "ST-07 gzip": (b"\x1f\x8b\x08" + bytes(40), "a gzip archive"),
    "ST-07 pickle": (b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01u.", "a Python pickle"),
    "ST-07 GGUF": (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "a GGUF file"),
    "ST-07 zeros": (bytes(100), "not a JSON object"),
    "ST-07 noise": (b"\x05\0\0\0\0\0\0\0hello", "its header is not a JSON object"),
    "ST-08 not UTF-8": (raw_safetensors(b'{"\xff": 1}'), "not UTF-8"),
    "ST-08 BOM": (raw_safetensors(b"\xef\xbb\xbf{}"), "not a JSON object"),
    "ST-08 lone surrogate in a name": (
        raw_safetensors(b'{"\\ud800": ' + json.dumps(F32).encode() + b"}", DATA),
        "lone surrogate",
    ),
    "ST-08 lone surrogate in metadata": (
        raw_safetensors(b'{"__metadata__": {"a": "\\uDFFF"}}'),
        "lone surrogate",
    ),
    "ST-09 not JSON": (raw_safetensors(b"{not json}"), "not JSON"),
    "ST-09 two values": (raw_safetensors(b"{} {}"), "not JSON"),
    "ST-09 a list": (raw_safetensors(b"[]"), "not a JSON object"),
    "ST-09 a number": (raw_safetensors(b"12"), "not a JSON object"),
    "ST-09 null": (raw_safetensors(b"null"), "not a JSON object"),
    "ST-09 nothing": (raw_safetensors(b""), "not JSON"),
    "ST-09 nested objects": (
        raw_safetensors(b'{"a":' * DEEP + b"1" + b"}" * DEEP),
        "nested too deeply",
    ),
    "ST-09 nested lists": (
        raw_safetensors(b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}"),
        "nested too deeply",
    ),
    "ST-09 NaN": (raw_safetensors(b'{"a": NaN}'), "NaN"),
    "ST-11 twice, other offsets": (
        named(("t", F32), ("t", tensor_info("F32", (2, 3), 24)), data=DATA * 2),
        "'t' appears twice",
    ),
    "ST-11 twice, other dtype": (
        named(("t", tensor_info("BF16", (2, 6))), ("t", tensor_info("F16", (2, 6)))),
        "'t' appears twice",
    ),
    "ST-11 a field twice": (
        raw_safetensors(b'{"t": {"dtype": "F32", "dtype": "F32"}}'),
        "'dtype' appears twice",
    ),
    "ST-12 metadata a list": (raw_safetensors({"__metadata__": ["a"]}), "table of strings"),
    "ST-12 metadata a number": (raw_safetensors({"__metadata__": 1}), "table of strings"),
    "ST-12 metadata with a number": (
        raw_safetensors({"__metadata__": {"a": 1}}),
        "table of strings",
    ),
    "ST-12 nested metadata": (
        raw_safetensors({"__metadata__": {"a": {"b": "c"}}}),
        "table of strings",
    ),
    "ST-12 metadata as a tensor": (
        raw_safetensors({"__metadata__": F32}, DATA),
        "table of strings",
    ),
    "ST-13 no dtype": (without("dtype"), "unknown type None"),
    "ST-13 no shape": (without("shape"), "bad shape"),
    "ST-13 no offsets": (without("data_offsets"), "bad data_offsets"),
    "ST-13 not a table": (raw_safetensors({"t": [1]}), "'t' is not a table"),
    "ST-13 null": (raw_safetensors({"t": None}), "'t' is not a table"),
    "ST-14 negative": (one(shape=[-2, -3]), "bad shape"),
    "ST-14 a float": (one(shape=[2.0, 3]), "bad shape"),
    "ST-14 an exponent": (
        raw_safetensors(b'{"t":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}', bytes(4)),
        "bad shape",
    ),
    "ST-14 a string": (one(shape=["2", 3]), "bad shape"),
    "ST-14 a bool": (one(shape=[True, 6]), "bad shape"),
    "ST-14 null": (one(shape=[None, 3]), "bad shape"),
    "ST-14 a number": (one(shape=6), "bad shape"),
    "ST-14 nested": (one(shape=[[2, 3]]), "bad shape"),
    "ST-14 2^63": (one(shape=[2**63]), "beyond all bounds"),
    "ST-14 2^63 beside 0": (one(b"", shape=[0, 2**63], data_offsets=[0, 0]), "beyond all bounds"),
    "ST-14 10^40": (one(shape=[10**40]), "too long"),
    "ST-14 65 extents": (one(shape=[1] * 65), "beyond all bounds"),
    "ST-14 many extents": (one(shape=[10**29] * 100_000), "beyond all bounds"),
    "ST-15 wraps to -4": (one(shape=[2, 2**64 - 2]), "beyond all bounds"),
    "ST-15 wraps to 24 bytes": (one(shape=[2**62 + 6]), "cannot take 24 bytes"),
    "ST-15 wraps beside 0": (
        one(b"", shape=[2**62, 2**62, 0], data_offsets=[0, 0]),
        "beyond all bounds",
    ),
    "ST-16 end before begin": (one(data_offsets=[24, 0]), "cannot take -24 bytes"),
    "ST-16 negative": (one(data_offsets=[-24, 0]), "bad data_offsets"),
    "ST-16 past the end": (one(data_offsets=[24, 48]), "leaves a gap"),
    "ST-16 far past the end": (one(data_offsets=[2**63 - 24, 2**63]), "leaves a gap"),
    "ST-16 three offsets": (one(data_offsets=[0, 24, 24]), "bad data_offsets"),
    "ST-16 one offset": (one(data_offsets=[24]), "bad data_offsets"),
    "ST-16 gap": (
        named(("a", tensor_info("F32", (2,))), ("b", tensor_info("F32", (2,), 16))),
        "'b' overlaps or leaves a gap",
    ),
    "ST-16 gap at the start": (one(bytes(4) + DATA, data_offsets=[4, 28]), "leaves a gap"),
    "ST-16 overlap": (
        named(("a", tensor_info("F32", (4,))), ("b", tensor_info("F32", (4,), 8))),
        "'b' overlaps or leaves a gap",
    ),
    "ST-16 two names, one range": (named(("a", F32), ("b", F32)), "overlaps"),
    "ST-17 too few bytes": (one(DATA[:20], data_offsets=[0, 20]), "cannot take 20 bytes"),
    "ST-17 too many bytes": (one(DATA + DATA, data_offsets=[0, 48]), "cannot take 48 bytes"),
    "ST-18 F3": (one(dtype="F3"), "'t' has the unknown type 'F3'"),
    "ST-18 lower case": (one(dtype="f32"), "'t' has the unknown type 'f32'"),
    "ST-18 not a string": (one(dtype=32), "'t' has the unknown type 32"),
    "ST-18 a long one": (one(dtype="\x1b[2J" * 1000), "unknown type"),
    "ST-19 half a byte": (one(b"\0", dtype="F4", shape=[3], data_offsets=[0, 1]), "cannot take"),
    "ST-19 odd bits": (one(bytes(3), dtype="F6_E2M3", shape=[5], data_offsets=[0, 3]), "cannot"),
}  # fmt: skip


def verdict(path: Path) -> CheckpointError | None:
    """The refusal of `path`, checked to be fit for one line of a terminal; None if it is read."""
    try:
        read_safetensors_header(path)
    except CheckpointError as error:
        assert_fit_to_show(error, path)
        return error
    return None


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_with_the_reason(tmp_path: Path, case: str) -> None:
    content, expected = REFUSED[case]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    error = verdict(path)
    assert error is not None
    assert error.message.startswith(f"{path}: ")
    assert expected in error.message


@pytest.mark.parametrize(
    ("case", "hint"),
    [
        ("ST-06 LFS pointer", "git lfs pull"),
        ("ST-07 HTML page", "download the file again"),
        ("ST-07 pickle", "convert it to safetensors"),
        ("ST-07 GGUF", ".gguf"),
        ("ST-18 F3", "upgrade spectrum-ft"),
    ],
)
def test_the_hint_says_what_to_do_about_it(tmp_path: Path, case: str, hint: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(REFUSED[case][0])
    error = verdict(path)
    assert error is not None
    assert error.hint is not None
    assert hint in error.hint


READ = {
    "ST-10 blanks before the header": raw_safetensors(
        b" \n\t\r" + json.dumps({"t": F32}).encode(), DATA
    ),
    "ST-10 many blanks before the header": raw_safetensors(
        b" " * 80 + json.dumps({"t": F32}).encode(), DATA
    ),
    "ST-10 blanks behind the header": raw_safetensors(
        json.dumps({"t": F32}).encode() + b"    ", DATA
    ),
    "ST-12 no metadata": one(),
    "ST-12 empty metadata": raw_safetensors({"__metadata__": {}, "t": F32}, DATA),
    "ST-13 unknown keys": one(extra={"a": [1.5, None]}, strides=[3, 1]),
    "ST-19 packed": one(
        bytes(3), dtype="F4", shape=[2, 3], data_offsets=[0, 3]
    ),
    "ST-20 zero-size": raw_safetensors(
        {
            "a": tensor_info("F32", (0,)),
            "b": tensor_info("BF16", (2, 0)),
            "t": F32,
            "z": tensor_info("U8", (0,), 24),
        },
        DATA,
    ),
    "ST-20 scalar": raw_safetensors({"t": tensor_info("F64", ())}, bytes(8)),
    "ST-21 no tensors": raw_safetensors({}),
    "names of any kind": named(
        ("", tensor_info("U8", (8,))), ("é😀\n", tensor_info("U8", (16,), 8))
    ),
}  # fmt: skip


def assert_agrees_with_the_format_s_reader(path: Path) -> None:
    """Assert that names, shapes and bytes of `path` are those that the safetensors package sees."""
    ours = {entry.name: entry for entry in read_safetensors_header(path)}
    with safe_open(path, "numpy") as theirs:
        assert set(ours) == set(theirs.keys())
        for name, entry in ours.items():
            stored = theirs.get_slice(name)
            assert list(entry.shape) == stored.get_shape()
            if entry.dtype in ("float32", "float16", "float64") and entry.num_bytes:
                assert read_bytes(entry).tobytes() == theirs.get_tensor(name).tobytes()


@pytest.mark.parametrize("case", READ)
def test_an_odd_but_sound_file_is_read_as_the_safetensors_package_reads_it(
    tmp_path: Path, case: str
) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(READ[case])
    assert verdict(path) is None
    assert_agrees_with_the_format_s_reader(path)


def test_a_tensor_without_values_reads_as_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "empty.safetensors"
    path.write_bytes(READ["ST-20 zero-size"])
    empty = [entry for entry in read_safetensors_header(path) if entry.num_params == 0]
    assert [entry.name for entry in empty] == ["a", "b", "z"]
    assert [read_bytes(entry).shape for entry in empty] == [(0,)] * 3
    assert read_tensor(empty[1]).shape == (2, 0)


def test_a_packed_type_keeps_its_own_word(tmp_path: Path) -> None:
    path = tmp_path / "packed.safetensors"
    path.write_bytes(READ["ST-19 packed"])
    (entry,) = read_safetensors_header(path)
    assert (entry.dtype, entry.num_bytes) == ("F4", 3)


def test_numbers_are_little_endian_on_every_machine(tmp_path: Path) -> None:
    path = tmp_path / "ones.safetensors"
    infos = {
        "single": tensor_info("F32", (1,)),
        "half": tensor_info("F16", (1,), 4),
        "brain": tensor_info("BF16", (1,), 6),
        "double": tensor_info("F64", (1,), 8),
    }
    data = bytes.fromhex("0000803f 003c 803f 000000000000f03f")
    path.write_bytes(raw_safetensors(infos, data))
    entries = read_safetensors_header(path)
    assert [entry.dtype for entry in entries] == ["float32", "float16", "bfloat16", "float64"]
    assert [read_tensor(entry).tolist() for entry in entries] == [[1.0]] * 4


def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    path.write_bytes(READ["ST-21 no tensors"])
    with pytest.raises(CheckpointError, match="holds no tensors") as refusal:
        open_checkpoint(str(path))
    assert_fit_to_show(refusal.value, path)


@pytest.mark.parametrize("length", [MAX_HEADER_BYTES + 1, 126_000_000])
def test_a_header_over_the_limit_is_refused_though_the_file_is_long_enough(
    tmp_path: Path, length: int
) -> None:
    path = tmp_path / "long.safetensors"
    with path.open("wb") as file:
        file.write(claims(length))
        file.truncate(length + 100)
    error = verdict(path)
    assert error is not None
    assert f"{length:,}" in error.message


@pytest.mark.parametrize(
    "case", [name for name in REFUSED if name.startswith(("ST-03", "ST-04", "ST-15", "ST-16"))]
)
def test_no_memory_is_taken_on_the_word_of_a_file(tmp_path: Path, case: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(REFUSED[case][0])
    tracemalloc.start()
    try:
        assert verdict(path) is not None
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_many_names_for_one_range_are_refused_soon(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(raw_safetensors({f"t{i}": F32 for i in range(50_000)}, DATA))
    start = time.process_time()
    error = verdict(path)
    assert time.process_time() - start < 3
    assert error is not None
    assert "overlaps" in error.message


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = raw_safetensors(
        {"__metadata__": {"format": "pt"}, "a": F32, "b": tensor_info("BF16", (4,), 24)},
        DATA + bytes(8),
    )
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole)
    assert verdict(path) is None
    for num_bytes in range(len(whole)):
        path.write_bytes(whole[:num_bytes])
        error = verdict(path)
        assert error is not None, num_bytes
        assert re.search("too short|truncated", error.message), (num_bytes, error.message)


def test_names_that_attack_a_terminal_are_escaped_in_messages(tmp_path: Path) -> None:
    folder = tmp_path / "esc\x1b]0;\n"
    folder.mkdir()
    path = folder / "bad.safetensors"
    path.write_bytes(raw_safetensors({"\x1b[2J\u202e\n" + "x" * 1000: {**F32, "dtype": "F3"}}))
    with pytest.raises(CheckpointError) as refusal:
        read_safetensors_header(path)
    message = refusal.value.message
    assert message.isprintable()
    assert len(message) <= 400
    assert r"esc\x1b]0;\n/bad.safetensors: '\x1b[2J\u202e\n" in message


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


ODD_FILES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "folder": Path.mkdir,
    "FIFO": make_fifo,
    "socket": make_socket,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    # A regular file by its looks, whose reads fail as those of a broken disk do.
    "unreadable disk": lambda path: path.symlink_to("/proc/self/mem"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_is_not_a_file_is_refused_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "unreadable disk" and not Path("/proc/self/mem").exists():
        pytest.skip("needs the proc file system of Linux")
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    path = tmp_path / "odd.safetensors"
    ODD_FILES[kind](path)
    assert verdict(path) is not None
    with pytest.raises(CheckpointError) as refusal:
        read_range(path, 0, 8)
    assert_fit_to_show(refusal.value, path)
    with pytest.raises(CheckpointError) as refusal:
        open_checkpoint(str(path))
    assert_fit_to_show(refusal.value, path)


@pytest.mark.skipif(runs_as_root(), reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.safetensors"
    path.write_bytes(one())
    path.chmod(0)
    error = verdict(path)
    assert error is not None
    assert "Permission denied" in error.message


# What may happen between the reading of a header and that of a tensor.


def rewrite(path: Path) -> None:
    path.write_bytes(one(DATA[::-1]))


def replace(path: Path) -> None:
    """Another file of the same size and age takes its name."""
    old = path.stat()
    other = path.with_name("other")
    other.write_bytes(one(DATA[::-1]))
    os.utime(other, ns=(old.st_atime_ns, old.st_mtime_ns))
    other.replace(path)


def grow(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 1)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


CHANGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "emptied": lambda path: os.truncate(path, 0),
    "grown": grow,
    "rewritten": rewrite,
    "replaced": replace,
    "removed": Path.unlink,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_after_its_header_was_read_is_refused(
    tmp_path: Path, change: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(one())
    os.utime(path, ns=(0, 0))
    (entry,) = read_safetensors_header(path)
    CHANGES[change](path)
    with pytest.raises(CheckpointError) as refusal:
        read_bytes(entry)
    assert_fit_to_show(refusal.value, path)


def test_a_range_past_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"0123456789")
    assert read_range(path, 4, 6).tobytes() == b"456789"
    with pytest.raises(CheckpointError, match="ended after 10 bytes"):
        read_range(path, 4, 7)


@pytest.mark.parametrize("change", ["truncated", "written to"])
def test_a_file_that_changes_under_a_read_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "large"
    num_bytes = 256 << 20
    with path.open("wb") as file:
        file.truncate(num_bytes)  # sparse: it takes no room, but a tenth of a second to read
    stop = threading.Event()

    def meddle() -> None:
        while not stop.wait(0.002):
            if change == "truncated":
                os.truncate(path, num_bytes - 1)
            else:
                os.utime(path)

    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        with pytest.raises(CheckpointError) as refusal:
            read_range(path, 0, num_bytes)
    finally:
        stop.set()
        thread.join()
    assert_fit_to_show(refusal.value, path)


def test_real_checkpoints_read_as_the_safetensors_package_reads_them(tmp_path: Path) -> None:
    for dtype in ("F32", "BF16", "F16", "F64"):
        folder = tmp_path / dtype
        written = write_llama(folder, layers=2, dtype=dtype)
        path = folder / "model.safetensors"
        assert_agrees_with_the_format_s_reader(path)
        for entry in read_safetensors_header(path):
            np.testing.assert_array_equal(read_tensor(entry), written[entry.name])


# Mutated files, judged by both readers.

STRICTER = {
    "a name twice, of which the package keeps the last": (
        "appears twice",
        named(("t", F32), ("t", F32)),
    ),
    "metadata that is null": (
        "__metadata__ is not a table of strings",
        raw_safetensors({"__metadata__": None, "t": F32}, DATA),
    ),
    "a tensor as the list of its fields": (
        "is not a table",
        raw_safetensors({"t": list(F32.values())}, DATA),
    ),
    "a type as a table of one": ("has the unknown type", one(dtype={"F32": None})),
    "65 extents and more, which numpy cannot hold": (
        "a shape beyond all bounds",
        one(shape=[1] * 63 + [2, 3]),
    ),
    "2^63 weights and more beside a 0": (
        "a shape beyond all bounds",
        one(b"", shape=[0, 2**63], data_offsets=[0, 0]),
    ),
    "whole numbers of more than 30 digits in fields that nobody reads": (
        "too long",
        one(extra=10**40),
    ),
}
"""Why a file that the safetensors package reads is refused by us: our words, and an example."""

WHOLE_HEADER = (
    b'{"__metadata__":{"format":"pt"},'
    b'"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},'
    b'"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},'
    b'"c":{"dtype":"I64","shape":[],"data_offsets":[32,40],"x":[1.5,null]},'
    b'"d":{"dtype":"U8","shape":[0,7],"data_offsets":[40,40]}}'
)
WHOLE_DATA = bytes(range(40))
PIECES = [
    b'"a":', b'"b":', b'"shape"', b'"dtype"', b'"data_offsets"', b'"__metadata__":',
    b'"F32"', b'"F16"', b'"F4"', b'"f32"', b'"F8_E4M3"', b"[0,24]", b"[24,0]", b"[0,0]", b"[]",
    b"{}", b"null", b"true", b"0", b"1", b"-1", b"2.0", b"6", b"24", b"18446744073709551615",
    b"18446744073709551616", b"9223372036854775808", b"1e999", b"NaN", b"Infinity",
    b" ", b"\n", b",", b":", b"[", b"]", b"{", b"}", b'"', b"\\", b"\xff", b"\xef\xbb\xbf", b"\0",
    b'"\\ud800"', b'"\\ud83d\\ude00"', b"1111111111111111111111111111111111111111",
    b'{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}', b'["F32",[2,3],[0,24]]',
]  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    header, data = bytearray(WHOLE_HEADER), WHOLE_DATA
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(header)))
        match draw(st.sampled_from(["insert", "replace", "cut", "copy", "flip", "value"])):
            case "insert":
                header[at:at] = draw(st.sampled_from(PIECES))
            case "replace":
                piece = draw(st.sampled_from(PIECES))
                header[at : at + len(piece)] = piece
            case "cut":
                del header[at : at + draw(st.integers(1, 20))]
            case "copy":
                start = draw(st.integers(0, len(header)))
                header[at:at] = header[start : start + draw(st.integers(1, 60))]
            case "flip":
                header[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "value":
                # The likeliest to stay JSON: one value for another.
                spans = [m.span() for m in re.finditer(rb'"\w+"|\d+|\[[\d,]*\]', header)]
                if spans:
                    begin, end = draw(st.sampled_from(spans))
                    header[begin:end] = draw(st.sampled_from(PIECES))
    content = bytearray(raw_safetensors(bytes(header), data))
    match draw(st.sampled_from(["as is", "as is", "length", "short", "long"])):
        case "length":
            content[:8] = struct.pack("<Q", draw(st.integers(0, len(content))))
        case "short":
            del content[-draw(st.integers(1, 40)) :]
        case "long":
            content += bytes(draw(st.integers(1, 40)))
    return bytes(content)


def read_by_the_package(path: Path) -> bool:
    try:
        with safe_open(path, "numpy"):
            return True
    except (SafetensorError, OSError):
        return False


@settings(
    derandomize=True,
    max_examples=1500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=mutations())
def test_a_mutated_file_gets_the_verdict_of_the_safetensors_package_or_a_named_stricter_one(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "mutated.safetensors"
    path.write_bytes(content)
    error = verdict(path)
    if error is None:
        assert read_by_the_package(path)
        assert_agrees_with_the_format_s_reader(path)
    elif read_by_the_package(path):
        assert any(words in error.message for words, _ in STRICTER.values()), error.message


@pytest.mark.parametrize("reason", STRICTER)
def test_we_are_stricter_than_the_safetensors_package_where_we_say_so(
    tmp_path: Path, reason: str
) -> None:
    words, content = STRICTER[reason]
    path = tmp_path / "strict.safetensors"
    path.write_bytes(content)
    assert read_by_the_package(path)
    error = verdict(path)
    assert error is not None
    assert words in error.message
