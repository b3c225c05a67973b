"""From the tensors that a checkpoint's files list to the weights that its model has."""

from collections.abc import Mapping, Sequence
from typing import Any

from spectrum_ft.checkpoints.packing.bitsandbytes4 import find_4_bit
from spectrum_ft.checkpoints.packing.bitsandbytes8 import find_8_bit
from spectrum_ft.checkpoints.packing.float8 import find_float8
from spectrum_ft.checkpoints.packing.mxfp4 import find_mxfp4
from spectrum_ft.checkpoints.packing.refused import find_refused
from spectrum_ft.checkpoints.packing.settings import quantization_settings
from spectrum_ft.checkpoints.tensors import TensorEntry

# The surest signs first: whoever finds a tensor first has it.
_FINDERS = (find_4_bit, find_8_bit, find_mxfp4, find_float8, find_refused)


def recognise(entries: Sequence[TensorEntry], config: Mapping[str, Any]) -> tuple[TensorEntry, ...]:
    """The model's tensors, in the order of `entries`, quantized weights put together.

    `config` is the model's config.json, whose word counts only where shapes leave a choice. A
    weight that takes several stored tensors is one entry, with the name and the shape of the
    unquantized one; the others are its companions and vanish from the list. What is quantized but
    cannot be unpacked has a packing with a reason. Reads the few bytes in which bitsandbytes tells
    the shapes of its weights, nothing else; raises `CheckpointError` if those cannot be read.
    """
    stored = {entry.name: entry for entry in entries}
    settings = quantization_settings(config)
    found: dict[str, TensorEntry] = {}
    hidden: set[str] = set()
    names = set(stored)
    for find in _FINDERS:
        for holder, entry, beside in find(stored, settings):
            clashes = entry.name != holder and entry.name in names
            if holder not in found and holder not in hidden and not clashes:
                found[holder] = entry
                names.add(entry.name)
                hidden.update(other.name for other in entry.companions)
                hidden |= beside
    hidden -= found.keys()
    return tuple(found.get(e.name, e) for e in entries if e.name not in hidden)
