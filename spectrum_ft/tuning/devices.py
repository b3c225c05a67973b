"""What trains, and in which type of numbers."""

import os
from dataclasses import replace

import torch

from spectrum_ft.errors import TrainError
from spectrum_ft.records.training import TrainSettings

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""The types that frozen weights can be kept in, by name."""


def decide(settings: TrainSettings) -> TrainSettings:
    """`settings` with `auto` replaced by what this machine has, and what it cannot do refused."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainError(
            "training in several processes at once is not supported yet",
            "start it with `spectrum train` alone, not with torchrun or accelerate launch",
        )
    device, dtype = settings.device, settings.dtype
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainError("--device cuda: torch sees no CUDA GPU here", "leave --device out")
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    if settings.precision == "stochastic" and dtype == "float32":
        raise TrainError(
            "--precision stochastic is for 16-bit weights, and these are kept in float32",
            "use --precision master, or --dtype bfloat16",
        )
    return replace(settings, device=device, dtype=dtype)


def torch_device(settings: TrainSettings) -> torch.device:
    """The device of decided `settings`."""
    return torch.device("cuda:0" if settings.device == "cuda" else "cpu")


def device_name(device: torch.device) -> str:
    """The device in words: `cpu`, or `cuda:0` with the GPU's name."""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return "cpu"
