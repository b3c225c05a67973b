"""Tasks of EleutherAI's lm-evaluation-harness, run by its own package, which is an extra."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from importlib.util import find_spec
from math import isfinite
from typing import Any

import torch

from spectrum_ft.errors import few_names
from spectrum_ft.records.evaluations import EvalSettingsError
from spectrum_ft.tuning.losses import evaluating, in_one_type

INSTALL = "pip install 'lm-eval>=0.4.9'"

_NO_METRICS = ("alias", "name", "sample_len", "sample_count")


def check_tasks(tasks: Sequence[str], *, folder: str | None = None) -> None:
    """Raise `EvalSettingsError` unless the harness is installed and knows all of `tasks`.

    `folder` may hold task files (YAML) besides the harness's own.
    """
    if find_spec("lm_eval") is None:
        raise EvalSettingsError("--tasks: lm-evaluation-harness is not installed", INSTALL)
    known = set(_manager(folder).all_tasks)
    unknown = [task for task in tasks if task not in known]
    if unknown:
        raise EvalSettingsError(
            f"--tasks: lm-evaluation-harness has no {few_names(unknown)}",
            _nearest(unknown[0], known),
        )


def run_tasks(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[str],
    *,
    limit: int | None,
    batch_size: int,
    seed: int = 0,
    folder: str | None = None,
) -> dict[str, float]:
    """Every figure that lm-evaluation-harness computes on `tasks`, as `hellaswag acc_norm`.

    The model, which is in memory, is left as it was; `limit` is the number of questions of a task.
    Prompts are the harness's own, without a chat template, so that figures compare with published
    ones. `seed` draws its solved examples and seeds the global generators, as the harness does.
    Raises `EvalSettingsError` as `check_tasks` does, and for a task whose data cannot be had.
    """
    check_tasks(tasks, folder=folder)
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    modes = [(module, module.training) for module in model.modules()]
    try:
        with redirect_stdout(sys.stderr):  # the harness prints; results are ours to print
            wrapped = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
            with torch.no_grad(), evaluating(model), in_one_type(model):
                found = simple_evaluate(
                    wrapped,
                    tasks=list(tasks),
                    limit=limit,
                    bootstrap_iters=0,
                    log_samples=False,
                    task_manager=_manager(folder),
                    random_seed=seed,
                    numpy_random_seed=seed,
                    torch_random_seed=seed,
                    fewshot_random_seed=seed,
                )
    except (OSError, ValueError, KeyError) as fault:
        what = ascii(str(fault).strip().split("\n")[0])[1:-1][:160]
        raise EvalSettingsError(
            f"lm-evaluation-harness cannot run {few_names(tasks)} ({type(fault).__name__}: {what})",
            "its own tasks fetch their data from the Hub: check network and HF_HUB_OFFLINE; of "
            "yours, check the file",
        ) from fault
    finally:
        for module, mode in modes:
            module.training = mode
    assert found is not None  # that is for all processes but the first
    return _figures(found["results"])


@cache  # it reads 14,000 files, which takes ten seconds
def _manager(folder: str | None) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder)


def _figures(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The harness's table without spreads and labels: `task metric`, and its filter if it has one.

    Metrics come as `acc,none` or `exact_match,strict-match`.
    """
    figures = {}
    for task, found in results.items():
        for key, value in found.items():
            metric, _, kind = key.partition(",")
            is_figure = isinstance(value, int | float) and not isinstance(value, bool)
            is_spread = metric.endswith("_stderr")
            if not is_figure or not isfinite(value) or is_spread or metric in _NO_METRICS:
                continue
            name = f"{task} {metric}" if kind in ("", "none") else f"{task} {metric} ({kind})"
            figures[name] = float(value)
    return figures


def _nearest(name: str, known: set[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, sorted(known), n=1)
    return f"did you mean {close[0]}?" if close else "`lm-eval ls tasks` lists them"
