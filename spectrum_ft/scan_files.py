"""Scan reports as files, our own and the published script's."""

from spectrum_ft.errors import RecordError
from spectrum_ft.planning.published import parse_published
from spectrum_ft.record_files import parse_record, read_bytes_of, to_record
from spectrum_ft.records import SCAN_SCHEMA, ScanReport

_OURS = b'"spectrum-ft/'


def read_scan(path: str) -> ScanReport:
    """The scan report in the file `path`, or on standard input for `-`; `RecordError`.

    A file that names none of our schemas is read as a result of the published Spectrum script.
    """
    data = read_bytes_of(path)
    if _OURS in data or not data.strip():
        report = to_record(parse_record(data, path), ScanReport, SCAN_SCHEMA, path)
        if len(report.shapes) < len(report.matrices) + len(report.skipped):
            raise RecordError(f"{path}: a tensor appears twice", "make the scan again")
        return report
    return parse_published(data, path)
