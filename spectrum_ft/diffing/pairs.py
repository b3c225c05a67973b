"""Two matrices of the same name, one a side, and whether they are the same."""

from dataclasses import dataclass

from spectrum_ft.records.diffs import Content
from spectrum_ft.records.scans import ScannedMatrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A matrix that both sides scored."""

    a: ScannedMatrix
    """As A scored it."""
    b: ScannedMatrix
    """As B scored it."""

    @property
    def content(self) -> Content:
        """Whether type, shape and bytes are the same; unknown without both digests."""
        if self.a.digest is None or self.b.digest is None:
            return "unknown"
        return "same" if self.a.digest == self.b.digest else "changed"

    @property
    def reshaped(self) -> bool:
        """Whether both shapes are known, and differ."""
        return bool(self.a.shape and self.b.shape) and self.a.shape != self.b.shape

    @property
    def retyped(self) -> bool:
        """Whether both types are known, and differ."""
        return None not in (self.a.dtype, self.b.dtype) and self.a.dtype != self.b.dtype
