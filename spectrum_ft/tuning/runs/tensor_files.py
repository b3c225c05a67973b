"""torch's tensors in safetensors files, written and read one at a time.

safetensors' own writer wants all tensors of a file at once, in memory and on the CPU.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.checkpoint import read_bytes
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError

if TYPE_CHECKING:
    import torch

# The format's words for types, where `TensorEntry.dtype` has a plainer one.
_WORDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}
_ITEM_BITS = {
    **dict.fromkeys(["F64", "I64", "U64", "C64"], 64),
    **dict.fromkeys(["F32", "I32", "U32"], 32),
    **dict.fromkeys(["F16", "BF16", "I16", "U16"], 16),
    **dict.fromkeys(["F6_E2M3", "F6_E3M2"], 6),
    "F4": 4,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """One tensor as a header announces it."""

    name: str
    """Its name."""
    dtype: str
    """Its type, in the format's words (`F32`) or in ours (`float32`)."""
    shape: tuple[int, ...]
    """Its extents."""

    @property
    def num_bytes(self) -> int:
        """The bytes it takes."""
        return math.prod(self.shape) * item_bits(self.dtype) // 8


def item_bits(dtype: str) -> int:
    """The bits that one value of this type takes."""
    return _ITEM_BITS.get(_WORDS.get(dtype, dtype), 8)


@contextmanager
def writing_tensors(
    path: Path, tensors: Sequence[StoredTensor]
) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """A function that takes the bytes of `tensors`, one after the other in their order.

    Values of wider types must come first, so that all are aligned. Raises `OSError`.
    """
    assert sorted(tensors, key=_by_width) == list(tensors)
    header = _header(tensors)
    left = iter(tensors)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)

        def write(content: NDArray[np.uint8]) -> None:
            tensor = next(left)
            assert content.nbytes == tensor.num_bytes, tensor
            file.write(content.data)

        yield write
        assert next(left, None) is None, "some tensors were announced and not written"


def write_tensors(path: Path, tensors: Mapping[str, "torch.Tensor"]) -> None:
    """Write `tensors`, from whatever device they are on, as the safetensors file `path`."""
    stored = {
        name: StoredTensor(name=name, dtype=word_of(tensor.dtype), shape=tuple(tensor.shape))
        for name, tensor in tensors.items()
    }
    ordered = in_file_order(list(stored.values()))
    with writing_tensors(path, ordered) as write:
        for entry in ordered:
            write(tensor_bytes(tensors[entry.name]))


def in_file_order(tensors: Sequence[StoredTensor]) -> list[StoredTensor]:
    """`tensors` as a file holds them: wider types first, else in the order given."""
    return sorted(tensors, key=_by_width)


def tensor_bytes(tensor: "torch.Tensor") -> NDArray[np.uint8]:
    """The bytes of `tensor`, 1-D, in the order of its indices."""
    import torch

    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    content: NDArray[np.uint8] = flat.view(torch.uint8).numpy()
    return content


def load_tensor(entry: TensorEntry) -> "torch.Tensor":
    """The tensor that `entry` names, as it is stored; `CheckpointError` if it cannot be read."""
    import torch

    dtype = _torch_dtypes().get(_WORDS.get(entry.dtype, entry.dtype))
    if dtype is None:
        shown = ascii(entry.name)[1:-1][:120]
        raise CheckpointError(
            f"{entry.file.name}: {shown} has the type {entry.dtype}, which torch lacks"
        )
    if not entry.num_bytes:
        return torch.empty(entry.shape, dtype=dtype)
    return torch.from_numpy(read_bytes(entry)).view(dtype).reshape(entry.shape)


def word_of(dtype: "torch.dtype") -> str:
    """The format's word for a type of torch's; an assertion if it has none."""
    words = {kind: word for word, kind in _torch_dtypes().items()}
    assert dtype in words, f"{dtype} cannot be stored"
    return words[dtype]


def torch_dtype(name: str) -> "torch.dtype":
    """torch's type of this name, the format's or ours."""
    return _torch_dtypes()[_WORDS.get(name, name)]


@cache
def _torch_dtypes() -> dict[str, "torch.dtype"]:
    import torch

    return {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
        "I64": torch.int64,
        "I32": torch.int32,
        "I16": torch.int16,
        "I8": torch.int8,
        "U64": torch.uint64,
        "U32": torch.uint32,
        "U16": torch.uint16,
        "U8": torch.uint8,
        "BOOL": torch.bool,
        "C64": torch.complex64,
    }


def _by_width(tensor: StoredTensor) -> int:
    return -item_bits(tensor.dtype)


def _header(tensors: Sequence[StoredTensor]) -> bytes:
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.num_bytes
        table[tensor.name] = {
            "dtype": _WORDS.get(tensor.dtype, tensor.dtype),
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(table, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)
