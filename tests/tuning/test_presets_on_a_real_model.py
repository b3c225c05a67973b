"""Every preset trains SmolLM2 on real messages, and what trained is what the plan says."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from chat_data import banking77_messages
from spectrum_ft import PlanRequest, ScanReport, make_plan, scan
from spectrum_ft.records.plans import LoraSettings, Plan, PlanModel, PlanPolicy
from spectrum_ft.records.training import TrainRun, TrainSettings
from spectrum_ft.tuning.applying import Applied
from spectrum_ft.tuning.bases import fit_plan, open_base
from spectrum_ft.tuning.losses import evaluating, held_out_loss
from spectrum_ft.tuning.merges.merge_jobs import Onto
from spectrum_ft.tuning.merges.merging import merge
from spectrum_ft.tuning.training import prepare_training

pytestmark = [
    pytest.mark.slow,
    # What the libraries beneath say about themselves and each other is none of ours.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

STEPS = 4

# Loads models as any tool would, each in a process of its own that never saw the run. Those are
# forked after the imports, which take ten seconds.
READER = """
import json, os, sys, torch
import transformers.models.llama.modeling_llama
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
torch.set_num_threads(1)

def read(ids, place, folder, adapter=None):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter is not None:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        save_file({"logits": model(torch.tensor(ids)).logits}, place)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        read(*json.loads(line))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
IDS = [[1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411]]


@pytest.fixture(scope="module")
def report(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> ScanReport:
    """The scan that all plans are made from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPECTRUM_FT_CACHE", str(tmp_path_factory.mktemp("scan")))
        return scan(str(smollm2))


@pytest.fixture(scope="module")
def logits_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Tensor]]:
    """What gives the logits of the model in a folder, with an adapter's folder or without."""
    place, said = (tmp_path_factory.mktemp("read") / name for name in ("logits", "said"))

    def logits(*folders: Path) -> Tensor:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(json.dumps([IDS, str(place), *map(str, folders)]) + "\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "0\n", said.read_text()
        found: Tensor = load_file(place)["logits"]
        return found

    with (
        said.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as reader,
    ):
        yield logits


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, so that two processes can agree to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def digests(applied: Applied) -> dict[str, bytes]:
    """A digest of every parameter and buffer, packed weights with what unpacks them."""
    found = {}
    for name, tensor in [*applied.model.named_parameters(), *applied.model.named_buffers()]:
        digest = hashlib.sha256(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
        state = getattr(tensor, "quant_state", None)
        if state is not None:
            for part in state.as_dict(packed=True).values():
                digest.update(part.contiguous().view(torch.uint8).numpy().tobytes())
        found[name] = digest.digest()
    return found


def proved(run: TrainRun, applied: Applied, before: dict[str, bytes]) -> None:
    """Hold the trained model to its plan."""
    after = digests(applied)
    trains = {name for name, p in applied.model.named_parameters() if p.requires_grad}
    moved = {name for name in after if after[name] != before[name]}
    # Nothing that is frozen has changed in a bit, and everything that trains has moved.
    assert moved == trains
    plan = run.plan
    stored = set(applied.trained_tensors())
    assert stored == set(plan.train)
    wanted = set(plan.lora.matrices) if plan.lora else set()
    assert set(run.adapted) == wanted
    carriers = {name.split(".lora_")[0] for name in trains if ".lora_" in name}
    assert carriers == {f"base_model.model.{module}" for module in run.adapted.values()}
    in_full = {id(parameter) for parameter in applied.trained.values()}
    assert len(in_full) == len(trains) - 2 * len(wanted)
    # 4 bits are really 4 bits, two weights a byte, and the head is not among them.
    assert applied.base.get_output_embeddings().weight.dtype == torch.float32
    packed = {n: p for n, p in applied.base.named_parameters() if not p.is_floating_point()}
    assert len(packed) == len(run.quantized) == (210 - _picked(plan) if plan.base == "nf4" else 0)
    for parameter in packed.values():
        assert parameter.dtype == torch.uint8
        assert parameter.numel() * 2 == parameter.quant_state.shape.numel()
    # The figures are there.
    assert run.moved > 0.9
    assert run.peak_memory_bytes > 0
    assert run.imported_memory_bytes > 0
    assert run.seconds > 0.0


def held_out(applied: Applied, rows: Any) -> float:
    """The held-out loss, one row at a time."""
    batches = ({name: torch.tensor([values]) for name, values in row.items()} for row in rows)
    return held_out_loss(applied.model, applied.base.get_output_embeddings(), batches)


def _picked(plan: Any) -> int:
    return sum(".layers." in name and "norm" not in name for name in plan.train)


@pytest.mark.parametrize(
    ("preset", "share", "lr"),
    [
        ("full", None, 2e-5),
        ("lora", None, 1e-3),
        ("qlora", None, 1e-3),
        ("qlora-paper", None, 1e-3),
        ("spectrum", 0.25, 1e-4),
        ("spectrum-nf4", 0.25, 1e-4),
        ("spectrum-qlora", 0.25, 1e-3),
        ("hybrid", 0.25, 1e-4),
        ("reference", 0.25, 1e-4),
        ("top-layers", 0.25, 1e-4),
    ],
)
def test_a_preset_trains_its_plan_and_merges_into_the_same_model(
    smollm2: Path,
    report: ScanReport,
    logits_elsewhere: Callable[..., Tensor],
    tmp_path: Path,
    preset: str,
    share: float | None,
    lr: float,
) -> None:
    plan = make_plan(report, PlanRequest(preset=preset, share=share)).plan
    settings = TrainSettings(
        data=str(banking77_messages(tmp_path / "train.jsonl", n=16)),
        eval_data=str(banking77_messages(tmp_path / "test.jsonl", n=8, split="test")),
        lr=lr if preset != "qlora-paper" else 2e-5,
        lora_lr=1e-3,
        max_steps=STEPS,
        batch_size=4,
        warmup=0.0,
    )
    output = tmp_path / "run"
    with prepare_training(str(smollm2), plan, settings, output) as training:
        applied = training.load()
        before = digests(applied)
        rows = training.prepared.eval_dataset
        loss_before = held_out(applied, rows)
        run = training.train(applied)
    proved(run, applied, before)
    assert run.eval_loss == pytest.approx(held_out(applied, rows), rel=1e-4)
    assert run.eval_loss is not None
    assert run.eval_loss < 0.95 * loss_before

    with one_thread(), torch.no_grad(), evaluating(applied.model):
        ours = applied.model(torch.tensor(IDS)).logits
    onto: Onto = "base" if plan.base == "as-is" else "dequantized"
    merge(output, tmp_path / "merged", onto=onto, dtype="float32")
    merged = logits_elsewhere(tmp_path / "merged")
    exact = plan.lora is None and plan.base == "as-is"
    bound = 0.0 if exact else 1e-4 * ours.abs().max().item()
    assert (merged - ours).abs().max().item() <= bound

    if not plan.train and plan.base == "as-is":
        loaded = logits_elsewhere(smollm2, output / "result")
        assert (loaded - ours).abs().max().item() <= bound
    steps = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [s["step"] for s in steps if s["loss"] is not None] == list(range(1, STEPS + 1))


def test_a_plan_in_the_names_of_a_gguf_is_told_in_those_of_its_conversion(
    smollm2: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPECTRUM_FT_CACHE", str(model_cache))
    base = open_base("packaged:smollm2-135m")
    assert base.folder == smollm2
    plan = Plan(
        model=PlanModel(source="a GGUF", fingerprint=base.source_fingerprint),
        train=("blk.29.attn_k.weight", "token_embd.weight"),
        lora=LoraSettings(matrices=("blk.3.ffn_down.weight",), r=4, alpha=8, dropout=0.0),
        policy=PlanPolicy(name="own", share=None, score=None),
    )
    fitted = fit_plan(plan, base)
    assert fitted.train == (
        "model.layers.29.self_attn.k_proj.weight",
        "model.embed_tokens.weight",
    )
    assert fitted.lora is not None
    assert fitted.lora.matrices == ("model.layers.3.mlp.down_proj.weight",)
