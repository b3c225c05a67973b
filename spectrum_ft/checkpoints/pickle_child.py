"""The process that reads one pickled weight file: `pickle_child.py SOURCE TARGET MAX_INFLATION`.

Run by path, never imported. Writes the tensors of SOURCE to TARGET as safetensors, or ends with a
reason of one line on standard error.
"""

import os
import sys

import torch
from safetensors.torch import save_file

SAFE_SINCE = (2, 10)
"""The first torch whose `weights_only` has no known hole."""


def main(source: str, target: str, max_inflation: float) -> None:
    """Convert `source`, unless its tensors take more than `max_inflation` times its bytes."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < SAFE_SINCE:
        sys.exit(f"torch {torch.__version__} cannot read pickles safely; it takes 2.10 or newer")
    try:
        table = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as fault:
        # Whatever torch makes of a damaged or hostile file, the parent wants one line about it.
        sys.exit(f"torch cannot read it as plain tensors ({type(fault).__name__})")
    if isinstance(table, dict) and set(table) == {"state_dict"}:
        table = table["state_dict"]
    if not isinstance(table, dict) or not all(isinstance(v, torch.Tensor) for v in table.values()):
        sys.exit("it is not a table of tensors")
    # Tied tensors share bytes in the file; a view that repeats a few of them for ever is a bomb.
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in table.values())
    if num_bytes > max_inflation * os.path.getsize(source):
        sys.exit(f"its tensors take {num_bytes:,} bytes, far more than they should")
    save_file({str(name): t.contiguous().clone() for name, t in table.items()}, target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
