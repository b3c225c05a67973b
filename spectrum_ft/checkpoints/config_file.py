"""`config.json` as a table, for what it says of how weights are kept."""

import json
from pathlib import Path
from typing import Any

from spectrum_ft.checkpoints.file_reading import identity, reading
from spectrum_ft.errors import CheckpointError

CONFIG = "config.json"

MAX_CONFIG_BYTES = 16 * 2**20
"""A thousand times what real ones take."""


def read_config_table(folder: Path) -> dict[str, Any]:
    """The config of the model in `folder` as it stands; `CheckpointError` if it is none."""
    path = folder / CONFIG
    with reading(path) as file:
        if identity(file).num_bytes > MAX_CONFIG_BYTES:
            raise CheckpointError(
                f"{path}: larger than {MAX_CONFIG_BYTES:,} bytes", "download it again"
            )
        return parse_config(file.read(), str(path))


def parse_config(data: bytes, name: str) -> dict[str, Any]:
    """The table in the bytes of the config called `name`; `CheckpointError` if it is none."""
    try:
        # Not strictly: Mamba's configs hold Infinity.
        table = json.loads(data)
    except (ValueError, RecursionError) as fault:
        raise CheckpointError(f"{name}: not JSON ({fault})", "download it again") from None
    if not isinstance(table, dict):
        raise CheckpointError(f"{name}: not a table", "download it again")
    return table
