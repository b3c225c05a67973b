"""Products in float32 that stay float32."""

from collections.abc import Callable

import torch

from spectrum_ft.spectra.shared_switch import SharedSwitch


def _turn_off_tf32() -> Callable[[], None]:
    before = torch.backends.cuda.matmul.fp32_precision

    def turn_to(precision: str) -> None:
        # Touched only where someone turned TF32 on.
        if before == "tf32":
            torch.backends.cuda.matmul.fp32_precision = precision

    turn_to("ieee")
    return lambda: turn_to("tf32")


NO_TF32 = SharedSwitch(_turn_off_tf32)
"""A context in which float32 products are not rounded to TF32.

torch has one switch for the process. Products are started within microseconds, and only their
start looks at it.
"""
