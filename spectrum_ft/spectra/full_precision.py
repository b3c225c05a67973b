"""Products in float32 that stay float32."""

import threading

import torch


class _NoTf32:
    """A context in which float32 products are not rounded to TF32.

    torch has one switch for the process. It is touched only where someone turned TF32 on, and for
    as long as any thread needs it: products are started within microseconds, and only their start
    looks at it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ""

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = torch.backends.cuda.matmul.fp32_precision
                if self._before == "tf32":
                    torch.backends.cuda.matmul.fp32_precision = "ieee"
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._before == "tf32":
                torch.backends.cuda.matmul.fp32_precision = "tf32"


NO_TF32 = _NoTf32()
"""For all who multiply here: the switch belongs to the process."""
