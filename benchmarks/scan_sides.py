"""Our side of the scan benchmarks, a run of whole processes, and the models for all sides."""

import json
import math
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from processes import Cost, num_processors, run_child, run_python

KINDS = (
    *(f"self_attn.{letter}_proj" for letter in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)

LAYERS = {
    "llama-3-8b": {"intermediate_size": 14336, "num_key_value_heads": 8},
    "square-4096": {"intermediate_size": 4096, "num_key_value_heads": 32},
}
"""Single layers of Llamas of hidden size 4096: that of Llama-3-8B, and one of 7 square matrices."""

# Programs of the children. The last line that each prints is JSON.
DEMO_MODEL = """
import json
from spectrum_ft.checkpoints.packaged import packaged_path
from spectrum_ft.tuning.gguf_base import convert_gguf
print(json.dumps(str(convert_gguf(packaged_path("smollm2-135m")))))
"""
LLAMA_LAYER = """
import json, sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)  # transformers starts matrices as Gaussian noise
LlamaForCausalLM(LlamaConfig(
    hidden_size=4096, num_attention_heads=32, **json.loads(sys.argv[2]),
    num_hidden_layers=1, vocab_size=32, tie_word_embeddings=True, dtype="float32",
)).save_pretrained(sys.argv[1])
print(json.dumps(sys.argv[1]))
"""
IMPORTS = "import spectrum_ft_cli.main, spectrum_ft_cli.scan; print('null')"
LARGEST = """
import json, sys
from spectrum_ft.checkpoints.checkpoint import open_checkpoint
from spectrum_ft.scanning.jobs import prepare_scan
job = prepare_scan(open_checkpoint(sys.argv[1]))
print(json.dumps(max(target.entry.num_params for target in job.targets)))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One scan of either side."""

    cost: Cost
    """What it took."""
    snr: dict[str, float | None]
    """The score of each matrix, by the name of its module."""


def demo_model() -> str:
    """The folder of SmolLM2-135M in float32, in the user's cache."""
    return str(run_python(DEMO_MODEL)[1])


def make_llama_layer(folder: str, layer: str) -> str:
    """`folder`, with a random Llama of the single layer of that name written into it."""
    return str(run_python(LLAMA_LAYER, folder, json.dumps(LAYERS[layer]))[1])


def run_scan(model: str, *options: str, store: str) -> tuple[Cost, Any]:
    """The cost of `spectrum scan` on the CPU, and its report; spectra are kept in `store`."""
    spectrum = str(Path(sys.executable).with_name("spectrum"))
    command = [spectrum, "scan", model, "--device", "cpu", "--json", "-q", *options]
    cost, output = run_child(command, SPECTRUM_FT_CACHE=store)
    report = json.loads(output)
    return replace(cost, scan_seconds=report["seconds"]), report


def scan_ours(model: str) -> Run:
    """A run of `spectrum scan` with nothing to reuse."""
    globs = [word for kind in KINDS for word in ("--kinds", kind)]
    with tempfile.TemporaryDirectory() as empty:
        cost, report = run_scan(model, *globs, store=empty)
    matrices = report["matrices"]
    snr = {matrix["name"].removesuffix(".weight"): matrix["scores"]["snr"] for matrix in matrices}
    return Run(cost=cost, snr=snr)


def worst_difference(ours: Run, peer: Run) -> float:
    """The largest |ours - peer| / |peer| over all matrices.

    Raises `ClickException` if one side lacks a matrix or a finite score for it.
    """
    if ours.snr.keys() != peer.snr.keys():
        raise click.ClickException(f"other matrices: {sorted(ours.snr.keys() ^ peer.snr.keys())}")
    worst = 0.0
    for name, theirs in peer.snr.items():
        value = ours.snr[name]
        if value is None or not theirs or not math.isfinite(theirs):
            raise click.ClickException(f"{name}: snr {value} against {theirs}")
        worst = max(worst, abs(value - theirs) / abs(theirs))
    return worst


def memory_bound(model: str, workers: int | None = None) -> dict[str, float]:
    """What a scan may take at most: imports + workers x 3 x the largest matrix + 100 MB.

    Without `workers`, as many as a scan has by itself.
    """
    imports = run_python(IMPORTS)[0].peak_mb
    largest = run_python(LARGEST, model)[1]
    workers = workers or num_processors()
    matrix = 4 * largest / 1e6  # float32
    bound = imports + workers * 3 * matrix + 100
    return {"imports_mb": imports, "workers": workers, "matrix_mb": matrix, "bound_mb": bound}
