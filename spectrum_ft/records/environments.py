"""What computed a record."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What computed a record."""

    spectrum_ft: str
    """Our own version."""
    python: str
    """The interpreter's version."""
    numpy: str
    """numpy's version."""
    scipy: str
    """scipy's version; its BLAS and numpy's LAPACK do the arithmetic."""
    platform: str
    """System and machine, e.g. `Linux x86_64`."""
    device: str
    """What the spectra were computed on."""
