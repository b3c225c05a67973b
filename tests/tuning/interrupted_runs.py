"""A program that trains tiny models in many short-lived processes; prints what they did as JSON.

Forks after the imports, which take ten seconds, and before anything is computed: each part of a
run is a process of its own. It is called with FOLDER KIND HOW [HOW ...], and each HOW, which is
also where in the folder that run goes, is one of

    undisturbed       one process does all steps
    stopped           each process is asked to stop after one step
    killed            each is killed in its second step, before that step is kept
    killed-once       one process is killed, and none goes on

What is printed are the exit codes of each run's processes.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch

import spectrum_ft.tuning.trainer  # noqa: F401  # the slow imports, once
from spectrum_ft.records.plans import LoraSettings, Plan, PlanModel, PlanPolicy
from spectrum_ft.records.training import TrainSettings, TrainStep
from spectrum_ft.tuning.training import Stopped, prepare_training

PARTS = {"undisturbed": (0, 0), "stopped": (1, 0), "killed": (0, 2), "killed-once": (0, 2)}
"""After how many of its steps a process is asked to stop, in which it is killed; 0 for never."""
STEPS = 10  # an epoch takes four: two whole ones and a part of a third
_TRAINED = ("model.layers.2.mlp.down_proj.weight", "model.layers.3.self_attn.q_proj.weight")
_ADAPTED = ("model.layers.1.mlp.up_proj.weight", "model.layers.3.mlp.gate_proj.weight")


def _plan(kind: str) -> Plan:
    lora = LoraSettings(matrices=_ADAPTED, r=4, alpha=8, dropout=0.1)
    return Plan(
        model=PlanModel(source="tiny", fingerprint=None),
        train=_TRAINED if kind != "lora" else (),
        lora=lora if kind != "spectrum" else None,
        base="nf4" if kind == "hybrid" else "as-is",
        policy=PlanPolicy(name=kind, share=None, score=None),
    )


def train(folder: Path, kind: str, output: str, *, stop_after: int, kill_in: int) -> bool:
    """Train a part of a run in this process; whether it is finished then.

    Asked to stop after `stop_after` steps of its own, killed in its step `kill_in`; 0 for never.
    """
    settings = TrainSettings(
        data=str(folder / "data.jsonl"),
        lr=1e-3,
        lora_lr=1e-3,
        batch_size=2,
        grad_accum=2,
        max_steps=STEPS,
        save_every=1,
        precision="stochastic" if kind == "stochastic" else "master",
        dtype="bfloat16" if kind == "stochastic" else "float32",
    )
    done = 0

    def watch(step: TrainStep) -> None:
        nonlocal done
        done += 1
        if done == kill_in:
            os.kill(os.getpid(), signal.SIGKILL)

    model, plan = str(folder / "model"), _plan(kind)
    with prepare_training(model, plan, settings, folder / output) as training:
        try:
            training.run(watch, lambda: 0 < stop_after <= done + 1)
        except Stopped:
            return False
    return True


def _in_child(folder: Path, kind: str, how: str) -> int:
    """The exit code of a process that trains: 0 finished, 1 stopped, -9 killed."""
    stop_after, kill_in = PARTS[how]
    child = os.fork()
    if child == 0:
        code = 2
        try:
            torch.set_num_threads(1)
            finished = train(folder, kind, how, stop_after=stop_after, kill_in=kill_in)
            code = 0 if finished else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def codes_of(folder: Path, kind: str, how: str) -> list[int]:
    """The exit codes of the processes that one run took, in their order."""
    codes: list[int] = []
    while not codes or (codes[-1] in (1, -signal.SIGKILL) and how != "killed-once"):
        codes.append(_in_child(folder, kind, how))
    return codes


def main() -> None:
    """Do one run after another, each until it is finished."""
    folder, kind, ways = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    codes = {how: codes_of(folder, kind, how) for how in ways}
    print(json.dumps(codes))
    sys.exit(int(any(2 in of_one for of_one in codes.values())))


if __name__ == "__main__":
    main()
