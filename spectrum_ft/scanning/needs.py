"""How much memory a matrix takes while its singular values are computed."""

from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.spectra.solvers import PANEL_BYTES, Method

_VIEWED = ("float32", "float64")  # types whose values are the bytes as read, not a copy of them
_WORK_COLUMNS = 64  # LAPACK's workspace, in columns of the Gram matrix


def bytes_needed(entry: TensorEntry, method: Method) -> int:
    """The most that `method` holds at a time for the matrix `entry`: bytes read, values, Gram.

    Decoding holds what was read beside the values, after joining what a packed tensor is read
    from; then the matrix stands beside its Gram matrix, or beside the copies that a direct
    decomposition makes.
    """
    p, q = sorted(entry.shape)
    per_value = 8 if entry.dtype == "float64" else 4
    values = per_value * p * q
    read = entry.stored_bytes
    reading = (
        read if entry.dtype in _VIEWED else max(2 * read if entry.packing else 0, read + values)
    )
    if method == "gram32":
        narrowed = 4 * p * q if per_value == 8 else 0
        return max(reading, values + narrowed + 4 * p * (p + _WORK_COLUMNS))
    if method == "gram64":
        panels = min(max(PANEL_BYTES, 8 * p), 8 * p * q)
        return max(reading, values + 8 * p * (p + _WORK_COLUMNS) + panels)
    double = 8 * p * q
    return max(reading, values + double, 2 * double + 8 * p * (p + _WORK_COLUMNS))
