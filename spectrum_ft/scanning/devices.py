"""Which solvers a device stands for. torch is imported only where there is an NVIDIA GPU."""

import ctypes
import re
import sys
from collections.abc import Sequence

from spectrum_ft.errors import ComputeError
from spectrum_ft.spectra.solvers import CpuSolver, Solver

DEVICES = "auto, cpu, cuda or cuda:N"
"""How a device may be named."""

_CUDA = re.compile("cuda(?::([0-9]{1,4}))?")


def solvers_for(device: str) -> Sequence[Solver]:
    """The solvers that `device` stands for, one for each GPU or one for the CPU.

    `auto` is every CUDA device that this process may use, else the CPU; `cuda` the same without the
    CPU, `cuda:N` one of them. Raises `ComputeError` where it is not there.
    """
    if device == "cpu":
        return [CpuSolver()]
    if device == "auto":
        return _cuda_solvers(range(_num_usable())) or [CpuSolver()]
    named = _CUDA.fullmatch(device)
    if named is None:
        raise ComputeError(f"unknown device {ascii(device)[1:-1][:40]!r}", f"use {DEVICES}")
    count = _num_usable()
    if count == 0:
        raise ComputeError(f"--device {device}: {_why_none()}", "use --device cpu, or leave it out")
    if named[1] is None:
        return _cuda_solvers(range(count))
    number = int(named[1])
    if number >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise ComputeError(
            f"--device {device}: there is no such GPU here", f"use {there}; see nvidia-smi"
        )
    return _cuda_solvers([number])


def num_gpus() -> int:
    """The GPUs that the NVIDIA driver shows to this process; 0 without a driver.

    Heeds CUDA_VISIBLE_DEVICES. Takes no time where there is no driver, unlike `import torch`.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _num_usable() -> int:
    """The GPUs that torch can use as well."""
    if num_gpus() == 0:
        return 0
    from spectrum_ft.spectra.torch_solver import num_usable_gpus

    return num_usable_gpus()


def _why_none() -> str:
    if num_gpus() == 0:
        return "there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it"
    from spectrum_ft.spectra.torch_solver import build_of_torch

    return f"the GPU cannot be used by this torch ({build_of_torch()})"


def _cuda_solvers(numbers: Sequence[int]) -> list[Solver]:
    if not numbers:
        return []
    from spectrum_ft.spectra.torch_solver import TorchSolver

    return [TorchSolver(f"cuda:{number}") for number in numbers]
