"""The memory that a scan may take, and what it does with less than it would like."""

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from making import write_llama
from program import assert_explained, run_spectrum
from spectrum_ft.checkpoints.checkpoint import open_checkpoint
from spectrum_ft.errors import ComputeError
from spectrum_ft.records.scans import SkippedTensor
from spectrum_ft.scanning.compute import Compute, budget_for
from spectrum_ft.scanning.jobs import prepare_scan
from spectrum_ft.scanning.needs import bytes_needed
from spectrum_ft.scanning.solving import Worker
from spectrum_ft.spectra.memory_budget import MemoryBudget
from spectrum_ft.spectra.solvers import METHODS, CpuSolver

Q0 = "model.layers.0.self_attn.q_proj.weight"


def test_a_budget_is_never_exceeded_and_everyone_has_a_turn() -> None:
    budget, lent, most, turns = MemoryBudget(100), 0, 0, 0
    counting = threading.Lock()

    def work(seed: int) -> None:
        nonlocal lent, most, turns
        chance = random.Random(seed)
        for _ in range(50):
            amount = chance.randint(1, 100)
            with budget.reserve(amount):
                with counting:
                    lent, turns = lent + amount, turns + 1
                    most = max(most, lent)
                time.sleep(0.0001)
                with counting:
                    lent -= amount

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert turns == 8 * 50
    assert 50 < most <= 100


def test_what_was_reserved_comes_back_after_an_error() -> None:
    budget = MemoryBudget(10)
    with pytest.raises(ValueError, match="broken"), budget.reserve(10):
        raise ValueError("broken")
    with budget.reserve(10):
        pass


def test_too_little_memory_is_told_before_any_weight_is_read(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=1, hidden=512)
    done = run_spectrum("scan", tmp_path / "model", "--memory", "100MB")
    assert_explained(done, "of memory are too little: the largest matrix takes")
    assert "Hint: pass --memory " in done.stderr
    hint = done.stderr.split("Hint: pass --memory ")[1].split()[0]
    again = run_spectrum("scan", tmp_path / "model", "--memory", hint)
    assert again.returncode == 0, again.stderr


def test_a_budget_has_room_for_the_largest_matrix_or_is_refused(tmp_path: Path) -> None:
    write_llama(tmp_path, layers=1, hidden=256)
    targets = prepare_scan(open_checkpoint(str(tmp_path))).targets
    largest = max(bytes_needed(target.entry, METHODS[0]) for target in targets)
    assert budget_for(targets, Compute()) >= largest
    with pytest.raises(ComputeError, match="too little"):
        budget_for(targets, Compute(memory_bytes=largest))


def test_a_matrix_that_needs_more_care_than_memory_is_skipped_with_the_reason(
    tmp_path: Path,
) -> None:
    # Half of the columns are dead: float32 alone is not accurate enough.
    matrix = np.random.default_rng(1).standard_normal((256, 256)).astype(np.float32)
    matrix[:, :128] = 0.0
    write_llama(tmp_path, layers=1, hidden=256, overrides={Q0: matrix})
    (target,) = (
        target
        for target in prepare_scan(open_checkpoint(str(tmp_path))).targets
        if target.entry.name == Q0
    )
    enough = bytes_needed(target.entry, METHODS[0])
    worker = Worker(
        CpuSolver(),
        score="snr",
        lookup=lambda digest, method, backend: None,
        budget=MemoryBudget(enough),
        slots=threading.Semaphore(1),
    )
    (solved,) = worker.solve([target])
    assert solved.values is None
    assert solved.reason is not None
    assert solved.reason.startswith("float32 is not accurate enough, and gram64 needs ")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's account of peak memory")
def test_the_memory_of_a_scan_stays_below_what_it_was_given(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=3, hidden=1536)
    for memory in (300 * 2**20, 400 * 2**20):
        peak = peak_of("scan", str(tmp_path / "model"), "--memory", str(memory), "--no-cache")
        assert peak <= memory


PEAK = """
import json, pathlib, sys
pathlib.Path("/proc/self/clear_refs").write_text("5")  # what the parent took does not count
from spectrum_ft_cli.main import run
code = run(sys.argv[1:])
status = dict(line.split(":") for line in open("/proc/self/status"))
print(json.dumps([code, int(status["VmHWM"].split()[0])]))
"""


def peak_of(*arguments: str) -> int:
    """The most resident memory of a successful run, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments, "-q"], capture_output=True, check=True, text=True
    )
    code, kib = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return int(kib) * 1024


def test_skipped_slices_say_which_they_are() -> None:
    assert SkippedTensor(name="w", shape=(2, 3, 4), reason="all zero", expert=1).expert == 1


def test_a_small_matrix_is_not_charged_for_a_large_panel(tmp_path: Path) -> None:
    write_llama(tmp_path, layers=1)
    (target, *_) = prepare_scan(open_checkpoint(str(tmp_path))).targets
    small = target.entry.num_params * 8
    assert bytes_needed(target.entry, "gram64") < 6 * small


def test_without_a_limit_no_method_is_out_of_reach(tmp_path: Path) -> None:
    write_llama(tmp_path, layers=1)
    targets = prepare_scan(open_checkpoint(str(tmp_path))).targets
    assert budget_for(targets, Compute()) >= max(
        bytes_needed(target.entry, method) for target in targets for method in METHODS
    )


def test_a_large_request_is_not_passed_by_small_ones_for_ever() -> None:
    budget = MemoryBudget(10)
    order: list[str] = []
    first_in, may_leave = threading.Event(), threading.Event()

    def hold() -> None:
        with budget.reserve(5):
            first_in.set()
            may_leave.wait(10)

    def take(name: str, amount: int) -> None:
        with budget.reserve(amount):
            order.append(name)

    holder = threading.Thread(target=hold)
    holder.start()
    first_in.wait(10)
    large = threading.Thread(target=take, args=("large", 10))
    large.start()
    time.sleep(0.2)  # until it waits
    small = threading.Thread(target=take, args=("small", 5))
    small.start()
    time.sleep(0.2)
    may_leave.set()
    for thread in (holder, large, small):
        thread.join(10)
    assert order == ["large", "small"]
