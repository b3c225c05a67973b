"""A picture as the bytes of a file: the same bytes for the same picture."""

import io

from matplotlib.figure import Figure

from spectrum_ft_reports.drawing.style import DPI, styled

SUFFIXES = (".png", ".svg")
"""What the files of pictures end in."""

# What files tell of the hour and the library, so that the same picture would differ.
_TELLTALES = {".png": ("Software",), ".svg": ("Date", "Creator")}

_SHARPNESS = 2
"""Dots of a PNG for each of the 900 that it is meant to be seen at."""


def picture_bytes(figure: Figure, suffix: str) -> bytes:
    """`figure` as the bytes of a file that ends in `suffix`, one of `SUFFIXES`."""
    stream = io.BytesIO()
    with styled():
        figure.savefig(
            stream,
            format=suffix[1:],
            dpi=_SHARPNESS * DPI,
            metadata=dict.fromkeys(_TELLTALES[suffix]),
        )
    return stream.getvalue()
