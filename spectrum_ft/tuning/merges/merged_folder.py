"""The folder of a merged model: where it may go, and what lies in it besides weights."""

import json
import os.path
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spectrum_ft.checkpoints.config_file import CONFIG, read_config_table
from spectrum_ft.checkpoints.file_reading import reading
from spectrum_ft.errors import OutputError

# Tokenizers, processors, chat templates, how to generate, and on what terms.
_COMPANIONS = (
    "generation_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*.json",
    "vocab*.txt",
    "merges*.txt",
    "*.model",
    "*.tiktoken",
    "tekken.json",
    "*processor_config.json",
    "chat_template*.json",
    "*.jinja",
    "additional_chat_templates/*.jinja",
    "LICENSE*",
    "NOTICE*",
)
_TYPE_KEYS = ("dtype", "torch_dtype")


def check_target(target: Path, *, force: bool, kept: Sequence[Path]) -> None:
    """Raise `OutputError` if no model may be written as the folder `target`.

    An empty folder is taken, a model's folder with `force`; never anything else, and nothing
    that lies in, or around, one of the folders `kept`.
    """
    elsewhere = "give the name of a new folder"
    if os.path.islink(target):
        raise OutputError(f"{target}: is a link", elsewhere)
    if os.path.exists(target) and not os.path.isdir(target):
        raise OutputError(f"{target}: is a file", elsewhere)
    place = Path(os.path.realpath(target))
    for folder in (Path(os.path.realpath(path)) for path in kept):
        if place.is_relative_to(folder):
            raise OutputError(f"{target}: lies in {folder}, which is read here", elsewhere)
        if folder.is_relative_to(place):
            raise OutputError(f"{target}: {folder} lies in it, which is read here", elsewhere)
    if Path.cwd().is_relative_to(place):
        raise OutputError(f"{target}: the current folder lies in it", elsewhere)
    try:
        has_content = os.path.isdir(target) and any(target.iterdir())
    except OSError as fault:
        raise OutputError(f"{target}: cannot be read ({fault.strerror})", elsewhere) from None
    if has_content and not force:
        raise OutputError(f"{target}: already exists", "pass --force to replace it")
    if has_content and not (target / CONFIG).is_file():
        raise OutputError(
            f"{target}: holds something else than a model, which --force spares", elsewhere
        )


def companions(base: Path) -> list[Path]:
    """The files in a model's folder that a model made from it needs too, besides its config."""
    found = {path for pattern in _COMPANIONS for path in base.glob(pattern)}
    return sorted(path for path in found if path.is_file())


def copy_file(source: Path, target: Path) -> None:
    """Copy the content of `source`. Raises `CheckpointError` reading, `OSError` writing."""
    target.parent.mkdir(exist_ok=True)
    with reading(source) as content, target.open("wb") as file:
        shutil.copyfileobj(content, file)


def write_config(base: Path, folder: Path, dtype: str) -> None:
    """Write the config of the model in `base` for the same model in `folder`, kept in `dtype`."""
    table = read_config_table(base)
    for key in ("quantization_config", "auto_map"):  # no longer true; code that is not copied
        table.pop(key, None)
    if not any(key in table for key in _TYPE_KEYS):
        table["torch_dtype"] = dtype
    _set_type(table, dtype)
    (folder / CONFIG).write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def _set_type(table: dict[str, Any], dtype: str) -> None:
    """Put `dtype` wherever a config, or one of a part of its model, names the weights' type."""
    for key, value in table.items():
        if key in _TYPE_KEYS:
            table[key] = dtype
        elif isinstance(value, dict) and key.endswith("_config"):
            _set_type(value, dtype)
