"""Whether the disk has room for what a run is going to keep."""

from pathlib import Path

from spectrum_ft.errors import OutputError
from spectrum_ft.records.training import Contract, TrainSettings
from spectrum_ft.staging import free_bytes

_FLOAT32 = 4
_SMALL_FILES = 2**20  # records, metrics, random states


def check_room(folder: Path, contract: Contract, settings: TrainSettings) -> None:
    """Raise `OutputError` if there is no room below `folder` for checkpoints and the result.

    A checkpoint holds what trains and, with Adam, two moments of it; one more than are kept is
    there while it is written.
    """
    once = _FLOAT32 * (contract.trained + contract.adapter_weights)
    checkpoints = (1 if settings.save_every is None else settings.keep + 1) * 3 * once
    needed, free = once + checkpoints + _SMALL_FILES, free_bytes(folder)
    if needed > free:
        raise OutputError(
            f"{folder}: the run will take {needed:,} bytes there, {free:,} are free",
            "make room there, give another folder, or keep fewer checkpoints",
        )
