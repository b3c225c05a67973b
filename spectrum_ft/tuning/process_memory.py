"""Memory as training is held to it: a GPU's allocator, or this process's resident pages."""

import ctypes
import sys
from pathlib import Path

import psutil
import torch

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
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
    """Have glibc return freed blocks to the system, however many of their size it has seen.

    It raises its threshold for doing so whenever a large block is freed, and then keeps up to a
    half more than training needs; a threshold that was set stays. That is paid for in time: fresh
    pages have to be cleared, and steps take a third longer. Nothing happens elsewhere.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return  # not glibc
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


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
