"""Scan reports as files, our own and the published script's."""

from spectrum_ft.errors import RecordError, few_names
from spectrum_ft.planning.published import parse_published
from spectrum_ft.record_files import parse_record, read_bytes_of, to_record
from spectrum_ft.records.scans import SCAN_SCHEMA, ScannedMatrix, ScanReport, SkippedTensor

_OURS = b'"spectrum-ft/'


def read_scan(path: str) -> ScanReport:
    """The scan report in the file `path`, or on standard input for `-`; `RecordError`.

    A file that names none of our schemas is read as a result of the published Spectrum script.
    """
    return parse_scan(read_bytes_of(path), path)


def parse_scan(data: bytes, path: str) -> ScanReport:
    """The scan report in `data`, read from `path`; see `read_scan`."""
    if _OURS in data or not data.strip():
        report = to_record(parse_record(data, path), ScanReport, SCAN_SCHEMA, path)
        _check_tensors(report, path)
        return report
    return parse_published(data, path)


def _check_tensors(report: ScanReport, path: str) -> None:
    """Raise `RecordError` unless each tensor appears once, or in slices that fit together."""
    shapes: dict[str, tuple[int, ...]] = {}
    parts: dict[str, set[int | None]] = {}
    tensors: list[ScannedMatrix | SkippedTensor] = [*report.matrices, *report.skipped]
    for tensor in tensors:
        name, shape = tensor.name, shapes.setdefault(tensor.name, tensor.shape)
        part = tensor.expert if len(shape) > 2 else None
        seen = parts.setdefault(name, set())
        if shape != tensor.shape:
            raise _damaged(
                path, name, f"is {_short(shape)} in one place, {_short(tensor.shape)} in another"
            )
        if min(shape, default=0) < 0:
            raise _damaged(path, name, f"cannot be {_short(shape)}")
        if part is not None and not 0 <= part < shape[0]:
            raise _damaged(path, name, f"is {_short(shape)} and has no such expert")
        if part in seen or None in seen or (part is None and seen):
            raise _damaged(path, name, "appears twice")
        seen.add(part)
    for matrix in report.matrices:
        if matrix.expert is None and len(matrix.shape) > 2:
            raise _damaged(path, matrix.name, "has a score that does not say of which expert")


def _short(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))[:60]


def _damaged(path: str, name: str, what: str) -> RecordError:
    return RecordError(f"{path}: {few_names([name])} {what}", "make the scan again")
