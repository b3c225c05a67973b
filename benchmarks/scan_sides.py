"""The two sides of the scan benchmark, each a run of whole processes, and the models for them."""

import json
import math
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import click
from processes import Cost, run_child, run_python

KINDS = (
    *(f"self_attn.{letter}_proj" for letter in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)

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
    hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8,
    num_hidden_layers=1, vocab_size=32, tie_word_embeddings=True, dtype="float32",
)).save_pretrained(sys.argv[1])
print(json.dumps(sys.argv[1]))
"""
IMPORTS = "import spectrum_ft_cli.main, spectrum_ft_cli.scan; print('null')"
WORKERS = """
import json, sys
from spectrum_ft.checkpoints.checkpoint import open_checkpoint
from spectrum_ft.scanning import default_workers, prepare_scan
job = prepare_scan(open_checkpoint(sys.argv[1]), kinds=sys.argv[2:])
print(json.dumps([default_workers(job), max(entry.num_params for entry in job.targets)]))
"""
# Drives the unmodified script as its own main() does, without the dialogs. The link keeps the
# folder's path out of the name of the result file, which the script makes from it.
REFERENCE = """
import importlib.util, json, os, sys, tempfile, time
script, model, *kinds = sys.argv[1:]
spec = importlib.util.spec_from_file_location("reference", script)
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    os.symlink(model, "model")
    modifier = reference.ModelModifier(model_name="model", batch_size=1)
    started = time.perf_counter()
    modifier.assess_layers_snr(kinds)
    seconds = time.perf_counter() - started
    modifier.save_snr_to_json()
    with open("model_snr_results/snr_results_model.json") as file:
        snr = {name: entry["snr"] for name, entry in json.load(file).items()}
    os.chdir("/")
print()
print(json.dumps({"seconds": seconds, "snr": snr}))
"""
# Stands in for the script where it is not at hand: the same loading, SVD and formula.
SVDVALS = """
import json, sys, time
import numpy, torch
from transformers import AutoModelForCausalLM
path, *kinds = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
started, snr = time.perf_counter(), {}
for name, module in model.named_modules():
    if name.endswith(tuple(kinds)):
        values = torch.linalg.svdvals(module.weight.detach()).double().numpy()
        p, q = sorted(module.weight.shape)
        low, high = numpy.quantile(values, (0.25, 0.75))
        edge = (high - low) / 1.349 * (1 + (p / q) ** 0.5)
        noise = values[values <= edge].sum() or 1.0
        snr[name] = values[values > edge].sum() / noise / values[0]
print(json.dumps({"seconds": time.perf_counter() - started, "snr": snr}))
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


def make_llama_layer(folder: str) -> str:
    """`folder`, with a Llama of one layer of the size of Llama-3-8B's written into it."""
    return str(run_python(LLAMA_LAYER, folder)[1])


def scan_ours(model: str) -> Run:
    """A run of `spectrum scan` with nothing to reuse."""
    spectrum = str(Path(sys.executable).with_name("spectrum"))
    globs = [word for kind in KINDS for word in ("--kinds", kind)]
    with tempfile.TemporaryDirectory() as empty:
        command = [spectrum, "scan", model, *globs, "--json"]
        cost, output = run_child(command, SPECTRUM_FT_CACHE=empty)
    report = json.loads(output)
    matrices = report["matrices"]
    snr = {matrix["name"].removesuffix(".weight"): matrix["scores"]["snr"] for matrix in matrices}
    return Run(cost=replace(cost, scan_seconds=report["seconds"]), snr=snr)


def scan_peer(model: str, reference: Path | None) -> Run:
    """A run of the reference script, or of the stand-in without it."""
    program, script = (REFERENCE, [str(reference)]) if reference else (SVDVALS, [])
    cost, result = run_python(program, *script, model, *KINDS)
    return Run(cost=replace(cost, scan_seconds=result["seconds"]), snr=result["snr"])


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


def memory_bound(model: str) -> dict[str, float]:
    """What a scan may take at most: imports + workers x 3 x the largest matrix + 100 MB."""
    imports = run_python(IMPORTS)[0].peak_mb
    workers, largest = run_python(WORKERS, model, *KINDS)[1]
    matrix = 4 * largest / 1e6  # float32
    bound = imports + workers * 3 * matrix + 100
    return {"imports_mb": imports, "workers": workers, "matrix_mb": matrix, "bound_mb": bound}
