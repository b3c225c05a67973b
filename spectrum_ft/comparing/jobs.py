"""A job: what a process of its own has to do for one trial, and the key that tells it apart."""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from spectrum_ft.records.comparisons import Purpose
from spectrum_ft.records.evaluations import EvalSettings
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import CHANGE_NO_WEIGHT, TrainSettings

JOB_SCHEMA = "spectrum-ft/job@1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A trial that is to be made."""

    schema: str = JOB_SCHEMA
    """Name and version of this layout."""
    source: str
    """The model."""
    arm: str
    """The arm's name."""
    purpose: Purpose
    """Why it is made."""
    seed: int
    """Its seed."""
    lr: float | None
    """The learning rate that is tried; None for an arm that does not train."""
    plan: Plan | None
    """What trains; None for nothing."""
    training: TrainSettings | None
    """How; None for nothing."""
    evaluation: EvalSettings | None
    """What is measured afterwards; None for nothing."""
    command: str
    """The command line of the comparison."""
    ignore_forecast: bool = False
    """Whether it is tried even if it should not fit into memory."""
    key: str = ""
    """SHA-256 of all that decides its outcome, see `with_key`."""

    @property
    def folder_name(self) -> str:
        """The name of its folder: the arm, the purpose, the seed, and enough of the key."""
        arm = re.sub(r"[^A-Za-z0-9.-]", "_", self.arm)[:60]
        return f"{arm}-{self.purpose}-{self.seed}-{self.key[:12]}"


def with_key(job: Job, held_equal: str) -> Job:
    """`job` with its key, which also depends on `held_equal`: a digest of what all jobs share.

    Where things lie and how they are called is left out of the key: data and model are told by
    their digests.
    """
    content = {
        "held equal": held_equal,
        "purpose": job.purpose,
        "seed": job.seed,
        "lr": job.lr,
        "plan": job.plan and _decisive_plan(job.plan),
        "training": job.training and _unnamed(job.training),
        "evaluation": job.evaluation and _unnamed(job.evaluation),
    }
    encoded = json.dumps(content, sort_keys=True).encode()
    return replace(job, key=hashlib.sha256(encoded).hexdigest())


def _decisive_plan(plan: Plan) -> Any:
    table = msgspec.to_builtins(plan)
    return {name: table[name] for name in ("train", "lora", "base")}


def _unnamed(settings: TrainSettings | EvalSettings) -> Any:
    """The settings as a table, without files' names and what changes no number."""
    apart = CHANGE_NO_WEIGHT | {"data", "eval_data", "examples", "general"}
    return {k: v for k, v in msgspec.to_builtins(settings).items() if k not in apart}
