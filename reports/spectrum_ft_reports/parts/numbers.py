"""Numbers as reports print them: the same figure reads the same everywhere."""

from spectrum_ft.records.figures import change as change
from spectrum_ft.records.figures import extents as extents
from spectrum_ft.records.figures import loss as loss
from spectrum_ft.records.figures import place as place
from spectrum_ft.records.figures import score as score
from spectrum_ft.records.figures import seconds as seconds
from spectrum_ft.records.figures import size as size

_STEPS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def count(value: int) -> str:
    """A number of weights with three or four digits: `134.5 M`."""
    for step, letter in _STEPS:
        if value >= step:
            return f"{value / step:.1f} {letter}"
    return str(value)


def share(part: int, whole: int) -> str:
    """`part` of `whole` in per cent, one decimal: `25.0 %`."""
    return f"{100.0 * part / whole:.1f} %" if whole else "0.0 %"


def plural(number: int, noun: str, many: str | None = None) -> str:
    """`1 matrix`, `2 matrices`."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def rate(value: float) -> str:
    """A learning rate: `2.00e-05`."""
    return f"{value:.2e}"


def disk_size(num_bytes: int) -> str:
    """A size on disk, which may be far below what memory is counted in."""
    return size(num_bytes) if num_bytes >= 2**20 else f"{num_bytes / 2**10:.0f} KiB"
