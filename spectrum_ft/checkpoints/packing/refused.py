"""Quantized weights that are not unpacked: what they are, and what to scan instead.

GPTQ, AWQ, HQQ, AQLM and the like are not hard to unpack for lack of a formula, but each stores it
in several dialects that the file does not tell apart. A reason is better than a wrong number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.packing.finding import Found, Stored, short
from spectrum_ft.checkpoints.packing.settings import Settings
from spectrum_ft.checkpoints.tensors import TensorEntry

_WAY_OUT = "scan the model that it was made from"

_INTEGERS = frozenset({"I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64"})
_BNB = "bitsandbytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The packing of a tensor that cannot be unpacked."""

    reason: str
    """Why not, in words for a user."""
    companions: tuple[TensorEntry, ...] = ()
    """The stored tensors that would belong to it."""

    @property
    def layout(self) -> str:
        """What its values depend on besides the bytes."""
        return "unknown"

    def unpack(
        self, raw: NDArray[np.uint8], companions: Sequence[NDArray[np.uint8]], entry: TensorEntry
    ) -> NDArray[np.float32]:
        """Never to be called: there is a `reason`."""
        raise AssertionError(self.reason)

    def part(self, index: int, count: int) -> "Refused":
        """The same reason."""
        return Refused(reason=self.reason)


class _Signature(NamedTuple):
    """How a scheme names the tensors of one module, by the ends of their names."""

    weight: str
    others: tuple[str, ...]
    proof: str | None
    """The one of `others` without which `weight` is too common a word to mean anything."""
    label: str


_SIGNATURES = (
    _Signature("qweight", ("qzeros", "scales", "g_idx", "perm"), None, "GPTQ or AWQ"),
    _Signature(
        "weight_packed",
        (
            *("weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx"),
            *("weight_global_scale", "input_global_scale", "input_scale"),
        ),
        None,
        "packed by compressed-tensors",
    ),
    _Signature(
        "compressed", ("bitmask", "shape", "row_offsets", "weight_scale"), "bitmask", "sparse"
    ),
    _Signature(
        "W_q",
        ("scale", "zero", "shape", "nbits", "group_size", "axis", "meta", "packing"),
        None,
        "HQQ",
    ),
    _Signature("codes", ("codebooks", "scales"), "codebooks", "AQLM"),
    _Signature("Qidxs", ("SU", "SV", "Wscale", "codebook_id"), None, "QuIP#"),
    _Signature(
        "indices",
        ("centroids", "res_centroids", "weight_scale", "weight_bias", "perm", "outlier_centroids"),
        "centroids",
        "VPTQ",
    ),
    _Signature(
        "q_weight", ("q_scale", "q_scale_max", "q_groups", "q_invperm", "q_perm"), None, "EXL2"
    ),
    _Signature("trellis", ("suh", "svh", "su", "sv", "mcg", "mul1"), None, "EXL3"),
    _Signature("weight._data", ("weight._scale", "weight._shift"), None, "quanto"),
    _Signature("_weight_qdata", ("_weight_scale", "_weight_zero_point"), None, "torchao"),
)

# What stands beside integers that are a weight: their scales, offsets and the like.
_SCALES = (
    *("weight_scale", "weight_scale_inv", "weight_scale_2", "weight_scales", "weight_zero_point"),
    *("weight_global_scale", "scales", "biases", "scale", "qscale_weight", "zeros", "qzeros"),
)
_LOOSE = (".weight_scale", ".weight_scale_inv", ".weight_scale_2", ".weight_zero_point")


def find_refused(stored: Stored, settings: Settings) -> Iterator[Found]:
    """The weights, scales and codebooks of schemes that are known but not unpacked."""
    by_end = {signature.weight: signature for signature in _SIGNATURES}
    for name, entry in stored.items():
        for end in (_end(name, 1), _end(name, 2)):
            if (signature := by_end.get(end)) is not None:
                yield from _group(stored, name.removesuffix(end), signature, settings)
        if name.endswith("weight") and entry.dtype in _INTEGERS and len(entry.shape) > 1:
            yield from _integers(stored, entry, settings)
        if name.endswith(_LOOSE):
            yield _refusal(entry, "a scale, not a weight")


def _end(name: str, count: int) -> str:
    return ".".join(name.rsplit(".", count)[-count:])


def _group(
    stored: Stored, module: str, signature: _Signature, settings: Settings
) -> Iterator[Found]:
    if signature.proof is not None and module + signature.proof not in stored:
        return
    label = signature.label
    if settings.method is not None and settings.method != "compressed-tensors":
        label = settings.method.upper() if len(settings.method) < 5 else settings.method
    yield _refusal(stored[module + signature.weight], f"{label} ({signature.weight}): {_WAY_OUT}")
    for other in signature.others:
        if module + other in stored:
            yield _refusal(stored[module + other], f"belongs to {signature.weight} ({label})")


def _integers(stored: Stored, entry: TensorEntry, settings: Settings) -> Iterator[Found]:
    module = entry.name.removesuffix("weight")
    scales = [stored[module + other] for other in _SCALES if module + other in stored]
    if settings.method == _BNB and not scales:
        yield _refusal(entry, f"integers of {_BNB} ({entry.dtype}) whose scales are missing")
    elif scales or settings.method is not None:
        how = f" ({settings.method})" if settings.method else ""
        what = f"quantized to {entry.dtype}{how} in a way that is not read"
        yield _refusal(entry, f"{what}: {_WAY_OUT}")
    for other in scales:
        yield _refusal(other, f"belongs to {short(entry.name)} ({entry.dtype})")


def _refusal(entry: TensorEntry, reason: str) -> Found:
    return Found(entry.name, replace(entry, packing=Refused(reason=reason)))
