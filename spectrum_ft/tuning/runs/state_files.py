"""What an optimizer, a schedule or a random generator remembers, as JSON and safetensors.

A state is a tree of dicts, lists and tuples over tensors, arrays and plain values. JSON holds the
tree; what JSON cannot tell apart is wrapped in a table with one key, its tag: `{"tuple": [...]}`.
Tensors and arrays go to a safetensors file and leave their number in the tree. No pickles.
"""

import json
import math
import os.path
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.checkpoint import read_bytes
from spectrum_ft.checkpoints.safetensors_file import read_safetensors_header
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError
from spectrum_ft.record_files import check_schema, parse_record, read_bytes_of
from spectrum_ft.tuning.runs.tensor_files import (
    StoredTensor,
    in_file_order,
    load_tensor,
    tensor_bytes,
    word_of,
    writing_tensors,
)

STATE_SCHEMA = "spectrum-ft/state@1"

_ARRAY_WORDS = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
_ARRAY_TYPES = {word: np.dtype(name) for name, word in _ARRAY_WORDS.items()} | {
    name: np.dtype(name) for name in ("float64", "float32", "float16")
}
# Readers of JSON need not keep integers beyond this, and ours refuses very long ones.
_PLAIN_INTEGERS = range(-(2**63), 2**63)


def write_state(folder: Path, name: str, state: object) -> None:
    """Write `state` as `NAME.json`, and `NAME.safetensors` if there are tensors in it.

    `read_state` gives it back exactly: types, order and types of keys, bits of floats; tensors on
    the CPU, one object wherever it was one object. Raises `OSError`. What can be in no state is
    an assertion that says where it is.
    """
    encoder = _Encoder()
    tree = encoder.encode(state, name)
    text = json.dumps({"schema": STATE_SCHEMA, "state": tree}, allow_nan=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    if encoder.stored:
        ordered = in_file_order(encoder.stored)
        with writing_tensors(folder / f"{name}.safetensors", ordered) as write:
            for tensor in ordered:
                write(_bytes_of(encoder.values[int(tensor.name)]))


def read_state(folder: Path, name: str) -> Any:
    """What `write_state` was given; `CheckpointError` if the files are missing or damaged.

    A file of a newer version is a `RecordError`.
    """
    path = folder / f"{name}.json"
    if not os.path.isfile(path):
        raise CheckpointError(
            f"{path}: is missing, so the run cannot go on from here",
            "go on from another checkpoint, or start anew with --force",
        )
    table = parse_record(read_bytes_of(str(path)), str(path))
    check_schema(table.get("schema"), STATE_SCHEMA, str(path))
    tensors = folder / f"{name}.safetensors"
    entries = read_safetensors_header(tensors) if os.path.lexists(tensors) else ()
    return _Decoder(path, entries).decode(table.get("state"))


class _Encoder:
    """The tensors met so far while a tree is written."""

    def __init__(self) -> None:
        self.stored: list[StoredTensor] = []
        self.values: list[Any] = []
        self._numbers: dict[int, int] = {}

    def encode(self, value: object, where: str) -> object:
        import torch

        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            return value if value in _PLAIN_INTEGERS else {"int": str(value)}
        if isinstance(value, float) and kind is float:
            return value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}
        if isinstance(value, list) and kind is list:
            return self._encode_all(value, where)
        if isinstance(value, tuple) and kind is tuple:
            return {"tuple": self._encode_all(value, where)}
        if isinstance(value, dict) and kind is dict:
            return {
                "dict": [
                    [self.encode(key, f"{where} key"), self.encode(item, f"{where}[{key!r}]")]
                    for key, item in value.items()
                ]
            }
        if isinstance(value, torch.Tensor) and kind is torch.Tensor:
            assert value.layout is torch.strided, f"{where} is not a plain tensor"
            return {"tensor": self._number(value, word_of(value.dtype))}
        if isinstance(value, np.ndarray) and kind is np.ndarray:
            is_plain = value.dtype.isnative and value.dtype.name in _ARRAY_WORDS
            assert is_plain, f"{where} is an array of {value.dtype}"
            return {"array": self._number(value, _ARRAY_WORDS[value.dtype.name])}
        raise AssertionError(f"{where} is a {kind.__module__}.{kind.__qualname__}")

    def _encode_all(self, values: Sequence[object], where: str) -> list[object]:
        return [self.encode(value, f"{where}[{i}]") for i, value in enumerate(values)]

    def _number(self, value: Any, dtype: str) -> int:
        # bitsandbytes keeps one quantization map for all parameters: it stays one.
        if id(value) not in self._numbers:
            number = self._numbers[id(value)] = len(self.values)
            shape = tuple(value.shape)
            self.stored.append(StoredTensor(name=str(number), dtype=dtype, shape=shape))
            self.values.append(value)
        return self._numbers[id(value)]


def _bytes_of(value: Any) -> NDArray[np.uint8]:
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    return tensor_bytes(value)


class _Decoder:
    """A tree on its way back, and the tensors that were read for it."""

    def __init__(self, path: Path, entries: Sequence[TensorEntry]) -> None:
        self._path = path
        self._entries = {entry.name: entry for entry in entries}
        self._read: dict[str, Any] = {}
        self._tags: Mapping[str, Callable[[Any], Any]] = {
            "int": int,
            "float": lambda text: struct.unpack(">d", bytes.fromhex(text))[0],
            "tuple": lambda items: tuple(self.decode(item) for item in items),
            "dict": lambda pairs: {self.decode(key): self.decode(item) for key, item in pairs},
            "tensor": lambda number: self._shared(f"tensor {number}", load_tensor, number),
            "array": lambda number: self._shared(f"array {number}", _load_array, number),
        }

    def decode(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        try:
            ((tag, content),) = node.items()
            return self._tags[tag](content)
        except (ValueError, TypeError, KeyError, struct.error):
            raise CheckpointError(
                f"{self._path}: not a state that was written here, or damaged",
                "go on from another checkpoint",
            ) from None

    def _shared(self, key: str, load: Callable[[TensorEntry], Any], number: int) -> Any:
        if key not in self._read:
            self._read[key] = load(self._entries[str(number)])
        return self._read[key]


def _load_array(entry: TensorEntry) -> NDArray[Any]:
    return read_bytes(entry).view(_ARRAY_TYPES[entry.dtype]).reshape(entry.shape)
