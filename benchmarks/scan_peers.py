"""The other side of the scan benchmark: programs that score the same matrices, as processes."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from processes import run_python
from scan_sides import KINDS, Run

# Programs of the children. The last line that each prints is JSON.
#
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
# Soup chooses by two groups of modules, which in a Llama are the seven kinds and nothing else: the
# norms in them are vectors. Its own cache of earlier scans stays unused.
SOUP = """
import json, sys, time
from soup_cli.utils.spectrum_scan import scan_model
model, *kinds = sys.argv[1:]
started = time.perf_counter()
layers = scan_model(model, modules="attn,mlp", use_cache=False).layers
seconds = time.perf_counter() - started
print()
print(json.dumps({
    "seconds": seconds, "snr": {layer.name.removesuffix(".weight"): layer.snr for layer in layers}
}))
"""
SOUP_VERSION = """
import json
from importlib.metadata import PackageNotFoundError, version
try:
    print(json.dumps(version("soup-cli")))
except PackageNotFoundError:
    print("null")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A program that scans as well."""

    name: str
    """What to call it."""
    program: str
    """What its process runs; the model's folder and the kinds follow its `arguments`."""
    arguments: tuple[str, ...] = ()
    """What that program wants to know first."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Its environment, beyond ours."""
    identity: Mapping[str, str] = field(default_factory=dict)
    """Which version was measured, for a record."""

    def scan(self, model: str) -> Run:
        """A run of it on the folder `model`."""
        cost, result = run_python(self.program, *self.arguments, model, *KINDS, **self.variables)
        return Run(cost=replace(cost, scan_seconds=result["seconds"]), snr=result["snr"])


def find_peers(reference: Path | None, packages: Path | None) -> list[Peer]:
    """The reference script, or its stand-in without it; and Soup's scanner if it is installed.

    `packages` is a folder, as `pip install --target` fills it, with what the peers import.
    """
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(packages), *([before] if before else [])])
    variables = {"PYTHONPATH": path} if packages else {}
    first = Peer(name="svdvals", program=SVDVALS)
    if reference:
        first = Peer(
            name="reference",
            program=REFERENCE,
            arguments=(str(reference),),
            variables=variables,
            identity={"sha256": hashlib.sha256(reference.read_bytes()).hexdigest()},
        )
    soup_version = run_python(SOUP_VERSION, **variables)[1]
    if soup_version is None:
        return [first]
    soup = Peer(name="soup", program=SOUP, variables=variables, identity={"version": soup_version})
    return [first, soup]
