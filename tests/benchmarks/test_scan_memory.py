import json
import subprocess
import sys
from pathlib import Path

from spectrum_ft.checkpoints.checkpoint import open_checkpoint, read_tensor
from spectrum_ft.scanning.scans import scan
from spectrum_ft.spectra.store import SpectraStore

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = ("--hidden", "64", "--intermediate", "160")


def run(program: str, *arguments: str) -> str:
    """The output of one of the benchmarks."""
    command = [sys.executable, str(BENCHMARKS / program), *arguments, *TINY]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_generated_checkpoint_has_the_size_asked_for_and_few_contents(tmp_path: Path) -> None:
    written = int(run("scan_checkpoint.py", str(tmp_path), "--gigabytes", "0.001"))

    checkpoint = open_checkpoint(str(tmp_path))
    report = scan(str(tmp_path), store=SpectraStore(None))

    # A block is 2 bytes x (64 x 64 x 2 + 16 x 64 x 2 + 64 x 160 x 3) = 81,920; 13 of them.
    assert written == 13 * 81_920 == sum(entry.num_bytes for entry in checkpoint.entries)
    assert len(report.matrices) == 13 * 7
    # 4 shapes of 3 contents.
    assert len({matrix.digest for matrix in report.matrices}) == 12


def test_the_generated_weights_are_noise_of_a_chosen_size_in_either_type(tmp_path: Path) -> None:
    for dtype in ("BF16", "F32"):
        folder = tmp_path / dtype
        run("scan_checkpoint.py", str(folder), "--gigabytes", "0.0001", "--dtype", dtype)
        entries = {entry.name: entry for entry in open_checkpoint(str(folder)).entries}
        values = read_tensor(entries["model.layers.0.mlp.down_proj.weight"])
        # 10,240 values: the deviation is known to 1 %; bfloat16 is cut by 0.4 % at most.
        assert abs(values.std() / 0.02 - 1) < 0.03


def test_the_memory_benchmark_holds_every_scan_to_its_bounds(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    run(
        "scan_memory.py",
        *("--gigabytes", "0.0001", "--workers", "1", "--memory", "400", "--record", str(record)),
    )
    cases = json.loads(record.read_text())["cases"]
    assert [case["label"] for case in cases] == [
        "1 worker",
        "the first again",
        "1 worker in 400 MB",
    ]
    assert all(0 < case["peak_mb"] < case["bounds_mb"]["bound"] for case in cases)
    assert not [case for case in cases if case["broken"]]
