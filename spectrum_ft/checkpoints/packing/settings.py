"""What a model's config.json says of its quantization, as far as the weights need it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import TypeIs

DEFAULT_BLOCK = (128, 128)
"""DeepSeek-V3's, and what transformers takes where nothing is said."""

_KEYS = ("quantization_config", "compression_config")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the weights were quantized, by the words of a stranger's config.json."""

    method: str | None = None
    """`quant_method`, printable and short; None where nothing is said."""
    blocks: tuple[tuple[int, int], ...] = (DEFAULT_BLOCK,)
    """The (rows, columns) that one scale of an 8-bit float may stand for; empty if unreadable."""
    hides_bytes: bool = False
    """Whether packed 4-bit weights may be stored under the name of a type of floats."""


def quantization_settings(config: Mapping[str, Any]) -> Settings:
    """The settings in `config`, or in the part of it that has them: `text_config` and the like."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in _KEYS:
            if isinstance(table := part.get(key), dict):
                return _settings(table)
    return Settings()


def _settings(table: Mapping[str, Any]) -> Settings:
    method = table.get("quant_method")
    storage = table.get("bnb_4bit_quant_storage", "uint8")
    return Settings(
        method=ascii(method)[1:-1][:40] if isinstance(method, str) and method else None,
        blocks=_blocks(table),
        hides_bytes=table.get("load_in_4bit") is True and storage != "uint8",
    )


def _blocks(table: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    named = [value for value in _named_blocks(table) if value is not None]
    if not named:
        return (DEFAULT_BLOCK,)
    return tuple(dict.fromkeys((v[0], v[1]) for v in named if _is_block(v)))


def _named_blocks(table: Mapping[str, Any]) -> Iterator[object]:
    """Whatever stands where a block's extents are told: by transformers, by compressed-tensors."""
    yield table.get("weight_block_size")
    groups = table.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            block, size = weights.get("block_structure"), weights.get("group_size")
            yield (
                [int(n) if n.isdecimal() else 0 for n in block.split("x")]
                if (isinstance(block, str) and len(block) < 30)
                else block
            )
            yield None if size in (None, -1) else [1, size]


def _is_block(value: object) -> TypeIs[list[int]]:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(extent) is int and 0 < extent < 2**31 for extent in value)
    )
