"""The measured speed of this machine, kept beside the spectra so that it is measured once."""

import hashlib
import math
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import scipy

from spectrum_ft.cache_folder import cache_folder
from spectrum_ft.errors import OutputError, RecordError
from spectrum_ft.record_files import parse_record, read_bytes_of, to_json, to_record
from spectrum_ft.scanning.estimating.measuring_speed import SHAPES, Shape, measure
from spectrum_ft.spectra.solvers import Solver
from spectrum_ft.writing import make_folder, write_file

CALIBRATION_SCHEMA = "spectrum-ft/calibration@1"

KEPT_DAYS = 30
"""How long a measured speed counts: it may have been taken at a bad moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a measured speed holds for."""

    processor: str
    """The processor's model."""
    workers: int
    """How many matrices were computed at a time."""
    device: str
    """What computed them."""
    backend: str
    """Which arithmetic it did."""
    numpy: str
    """numpy's version."""
    scipy: str
    """scipy's version, whose BLAS it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long one shape took."""

    rows: int
    """The smaller extent."""
    columns: int
    """The larger one."""
    seconds: float
    """Seconds of one worker for one matrix, all workers being at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The measured speed of a machine."""

    schema: str = CALIBRATION_SCHEMA
    """Name and version of this layout."""
    machine: Machine
    """The machine."""
    measured: str
    """The day of the last measurement, as YYYY-MM-DD."""
    timings: tuple[Timing, ...] = ()
    """What was measured."""

    @property
    def by_shape(self) -> dict[Shape, float]:
        """Seconds by shape."""
        return {(t.rows, t.columns): t.seconds for t in self.timings}


def calibrate(
    solver: Solver,
    workers: int,
    shapes: Sequence[Shape],
    *,
    seconds: float,
    memory_bytes: float,
    keep: bool,
) -> Calibration:
    """How fast `workers` of this machine are, measured for about `seconds` unless it is known.

    With `keep` what is known is read from the cache, and what was measured is kept there.
    """
    machine = machine_of(solver, workers)
    path = cache_folder() / _file_name(machine)
    known = read_calibration(path, machine) if keep else None
    found = known or Calibration(machine=machine, measured=_today())
    timings = measure(
        solver,
        workers,
        shapes,
        known=found.by_shape,
        seconds=seconds,
        memory_bytes=memory_bytes,
    )
    if not timings:
        return found
    added = [Timing(rows=p, columns=q, seconds=took) for (p, q), took in timings.items()]
    found = replace(found, measured=_today(), timings=(*found.timings, *added))
    if keep:
        # It only saves time: where the cache cannot be written to, it is measured again.
        with suppress(OutputError):
            make_folder(path.parent)
            write_file(path, to_json(found), force=True)
    return found


def machine_of(solver: Solver, workers: int) -> Machine:
    """This machine, as `workers` with that solver see it."""
    return Machine(
        processor=_processor(),
        workers=workers,
        device=solver.device,
        backend=solver.backend,
        numpy=np.__version__,
        scipy=scipy.__version__,
    )


def _processor() -> str:
    """The processor's model, in the system's words."""
    with suppress(OSError):  # Linux alone has it
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_name(machine: Machine) -> str:
    digest = hashlib.sha256(to_json(machine).encode()).hexdigest()
    return f"speed-{digest[:16]}.json"


def read_calibration(path: Path, machine: Machine) -> Calibration | None:
    """What is kept in `path`; None where that is nothing, damaged, or of another machine."""
    if not path.is_file():
        return None
    try:
        table = parse_record(read_bytes_of(str(path)), str(path))
        found = to_record(table, Calibration, CALIBRATION_SCHEMA, str(path))
    except RecordError:
        return None
    sound = all(shape in SHAPES for shape in found.by_shape) and all(
        math.isfinite(seconds) and seconds > 0.0 for seconds in found.by_shape.values()
    )
    return found if sound and found.machine == machine and _is_recent(found.measured) else None


def _is_recent(day: str) -> bool:
    try:
        age = datetime.now(UTC).date() - date.fromisoformat(day)
    except ValueError:
        return False
    return timedelta(0) <= age <= timedelta(days=KEPT_DAYS)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
