"""The README.md of a merged model: what it was made from and how, from the run's own record."""

from pathlib import Path

import yaml

from spectrum_ft import __version__
from spectrum_ft.checkpoints.checkpoint import PACKAGED_PREFIX
from spectrum_ft.checkpoints.hub import is_hub_id
from spectrum_ft.checkpoints.packaged import PACKAGED
from spectrum_ft.records.training import TrainRun


def model_card(run: TrainRun, *, onto: str, dtype: str) -> str:
    """The card, in Markdown under the front matter that the Hub reads.

    Names come from strangers: each is one line of printable ASCII in a code span. No path of this
    machine is told.
    """
    model = _model(run.source)
    front = {
        "base_model": model,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["spectrum-ft"],
    }
    name = model.split("/")[-1]
    return "\n".join(
        [
            "---",
            yaml.safe_dump(front, sort_keys=True, width=1000).rstrip(),
            "---",
            "",
            f"# {_code(name)}, fine-tuned",
            "",
            f"Merged with spectrum-ft {__version__} from {_code(model)} and a training run on it.",
            "",
            *(f"- {fact}" for fact in _facts(run, onto, dtype)),
            "",
            "```python",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'model = AutoModelForCausalLM.from_pretrained("PATH", dtype="auto")',
            'tokenizer = AutoTokenizer.from_pretrained("PATH")',
            "```",
            "",
        ]
    )


def _facts(run: TrainRun, onto: str, dtype: str) -> list[str]:
    contract, settings, plan = run.contract, run.settings, run.plan
    facts = [
        f"Plan: {_code(plan.policy.name)}, {contract.trained:,} of {contract.total:,} weights "
        f"({100 * contract.trained / max(contract.total, 1):.1f} %) trained in full, in "
        f"{contract.trained_tensors:,} tensors."
    ]
    if plan.lora is not None:
        facts.append(
            f"Adapters: {contract.adapters:,} matrices, rank {plan.lora.r}, alpha "
            f"{plan.lora.alpha:g}, {contract.adapter_weights:,} weights, added in float32."
        )
    if run.quantized:
        kept = "what that kept" if onto == "dequantized" else "the original values"
        facts.append(
            f"Frozen weights in training: {len(run.quantized):,} matrices in {plan.base}; "
            f"this model holds {kept}."
        )
    facts += [
        f"Data: {_code(_last_part(run.data.source))}, {run.data.kept:,} examples, "
        f"SHA-256 {_code(run.data.digest[:16])}.",
        f"Training: {run.steps:,} steps of {settings.batch_size} x {settings.grad_accum} rows, at "
        f"most {settings.max_length:,} tokens each, learning rate {settings.lr:g}"
        + (f" (adapters {settings.lora_lr:g})" if plan.lora else "")
        + f", {_code(settings.optimizer)}, {_code(settings.scheduler)}, precision "
        f"{settings.precision}, seed {settings.seed}.",
        f"Result: step {run.result_step:,}; training loss {run.first_loss:.4f} at first, "
        f"{run.last_loss:.4f} at last"
        + (f"; held-out loss {run.eval_loss:.4f}" if run.eval_loss is not None else "")
        + ".",
        f"Weights: {dtype}.",
    ]
    return facts


def _model(source: str) -> str:
    """What the base is called: its name on the Hub, or the last part of its path."""
    packaged = PACKAGED.get(source.removeprefix(PACKAGED_PREFIX))
    if source.startswith(PACKAGED_PREFIX) and packaged is not None:
        return packaged.hub_id
    if is_hub_id(source) and not Path(source).exists():
        return source.split("@")[0]
    return _last_part(source)


def _last_part(path: str) -> str:
    return Path(path).name or path


def _code(text: str) -> str:
    """A stranger's text as a code span, in which Markdown and HTML mean nothing."""
    return f"`{ascii(text)[1:-1][:120].replace('`', chr(39))}`"
