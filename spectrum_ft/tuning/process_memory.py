"""Memory as training is held to it: a GPU's allocator, or this process's resident pages."""

import sys
from pathlib import Path

import psutil
import torch

from spectrum_ft.heap import return_large_blocks

_LARGE_BLOCK = 256 * 1024

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """The pages of this process that are in memory now."""
    return int(psutil.Process().memory_info().rss)


def available_bytes(device: torch.device) -> int:
    """The memory that a run on `device` could still take."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def give_freed_memory_back() -> None:
    """Have freed tensors returned to the system at once; steps take a third longer for it."""
    return_large_blocks(_LARGE_BLOCK)


def reset_peak(device: torch.device) -> None:
    """Let `peak_bytes` tell of what comes from now on, where the system can do that."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR_REFS.exists():
        try:
            _CLEAR_REFS.write_text("5")  # Linux: forget the high-water mark of resident pages
        except OSError:
            return  # not allowed in some containers: the peak then counts the start as well


def peak_bytes(device: torch.device) -> int:
    """The most memory in use since `reset_peak`."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
