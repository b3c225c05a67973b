"""Which files of a model's folder hold its weights."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spectrum_ft.checkpoints.gguf_file import read_gguf_header
from spectrum_ft.checkpoints.index import read_sharded
from spectrum_ft.checkpoints.safetensors_file import read_safetensors_header
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.errors import CheckpointError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth")
# What trainers leave beside the weights.
_STATES = ("training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states")


def _read_gguf(path: Path) -> tuple[TensorEntry, ...]:
    return read_gguf_header(path).entries


HEADER_READERS: Mapping[str, Callable[[Path], tuple[TensorEntry, ...]]] = {
    ".safetensors": read_safetensors_header,
    ".gguf": _read_gguf,
}
"""How the tensors of one weight file are listed, by the suffix of its name; preferred first."""


def is_weight_file(path: Path) -> bool:
    """Whether `path` is by its name a file of weights, pickled ones included."""
    return path.suffix in HEADER_READERS or path.suffix in PICKLE_SUFFIXES


def read_folder(folder: Path) -> tuple[TensorEntry, ...]:
    """The tensors of the checkpoint in `folder`, from headers only.

    The first that is there wins: the shard index, `model.safetensors`, the only .safetensors
    file, the only .gguf file. Raises `CheckpointError` where there is none, or no telling which.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise CheckpointError(f"{folder}: may not be read", "check its permissions")
    if (folder / INDEX).exists():
        return read_sharded(folder / INDEX)
    if (folder / SINGLE).exists():
        return read_safetensors_header(folder / SINGLE)
    for suffix, read in HEADER_READERS.items():
        found = sorted(folder.glob(f"*{suffix}"))
        if len(found) == 1:
            return read(found[0])
        if found:
            raise _ambiguous(folder, found)
    raise _no_weights(folder)


def pickles_in(folder: Path) -> Sequence[Path]:
    """The weight files in `folder` that are (or may be) pickles, sorted."""
    found = (path for suffix in PICKLE_SUFFIXES for path in folder.glob(f"*{suffix}"))
    return sorted(path for path in found if not path.name.startswith(_STATES))


def _ambiguous(folder: Path, found: Sequence[Path]) -> CheckpointError:
    names = ", ".join(ascii(path.name)[1:-1] for path in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return CheckpointError(
        f"{folder}: {len(found)} weight files and no {INDEX}: {names}{more}",
        "give one file, or download the index as well",
    )


def _no_weights(folder: Path) -> CheckpointError:
    pickles = pickles_in(folder)
    if pickles:
        return CheckpointError(
            f"{folder}: only pickled weights ({pickles[0].name}), and pickles can run code",
            "convert it to safetensors, or pass --allow-pickle if you trust its author",
        )
    return CheckpointError(
        f"{folder}: no weights here (looked for .safetensors and .gguf)",
        "give the folder that holds the model's weight files",
    )
