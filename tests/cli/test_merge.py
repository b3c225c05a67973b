"""`spectrum merge` as a user runs it."""

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from made_runs import RANK, write_run
from making import write_llama
from program import PROGRAM, assert_explained, run_spectrum
from train_program import Spectrum

Q = "model.layers.0.self_attn.q_proj.weight"
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_llama(tmp_path / "base", layers=2)
    adapter = torch.ones(RANK, 64), torch.ones(160, RANK)
    return write_run(
        tmp_path / "run",
        tmp_path / "base",
        trained={Q: torch.ones(64, 64)},
        adapters={UP: adapter},
        keeping="nf4",
        quantized=[UP],
    )


def test_a_merge_says_what_it_did_and_how_to_go_on(tmp_path: Path, run: Path) -> None:
    done = run_spectrum("merge", run, "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    out = tmp_path / "out"
    assert lines[0] == "Merging 21 tensors, 0.00 GB."
    assert "--onto dequantized gives the very model that trained" in lines[1]
    assert lines[2] == (
        f"Wrote {out}: 21 tensors (1 adapted, 19 copied, 1 trained), 0.00 GB in 1 file."
    )
    assert lines[3] == "Load it with:"
    snippet = "\n".join(line.strip() for line in lines[4:6])
    names: dict[str, object] = {}
    exec(snippet, names)
    assert type(names["model"]).__name__ == "LlamaForCausalLM"
    assert "tokenizer = AutoTokenizer.from_pretrained" in lines[6]
    assert torch.equal(load_file(out / "model.safetensors")[Q], torch.ones(64, 64))


def test_json_is_the_record_and_nothing_else(tmp_path: Path, run: Path, spectrum: Spectrum) -> None:
    done = spectrum(
        "merge", str(run), "-o", str(tmp_path / "out"), "--json", "-q", "--onto", "dequantized"
    )
    assert done.stderr == ""
    record = json.loads(done.stdout)
    assert record["schema"] == "spectrum-ft/merge@1"
    assert record["tensors"] == {"adapted": 1, "copied": 19, "trained": 1}
    assert record["output"] == str(tmp_path / "out")


def test_a_target_that_is_there_needs_force(tmp_path: Path, run: Path, spectrum: Spectrum) -> None:
    out = tmp_path / "out"
    assert spectrum("merge", str(run), "-o", str(out), "--dtype", "bfloat16").returncode == 0
    assert_explained(spectrum("merge", str(run), "-o", str(out)), "already exists")
    assert load_file(out / "model.safetensors")[Q].dtype == torch.bfloat16
    assert spectrum("merge", str(run), "-o", str(out), "--force").returncode == 0
    assert load_file(out / "model.safetensors")[Q].dtype == torch.float32


@pytest.mark.parametrize(
    ("target", "message"),
    [("run/out", "lies in"), ("base", "lies in"), ("-", "not a folder's name"), (".", "lies in")],
)
def test_a_target_that_must_not_be_written_to_is_refused(
    tmp_path: Path,
    run: Path,
    spectrum: Spectrum,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = spectrum("merge", str(run), "-o", target, "--force")
    assert_explained(done, message)


def test_an_unfinished_run_is_refused(tmp_path: Path, run: Path) -> None:
    (run / "run.json").unlink()
    done = run_spectrum("merge", run, "-o", tmp_path / "out")
    assert_explained(done, "holds no finished run")
    assert "goes on where it stopped" in done.stderr


def test_no_output_is_a_usage_error(run: Path, spectrum: Spectrum) -> None:
    done = spectrum("merge", str(run))
    assert done.returncode == 2
    assert "--output" in done.stderr


def test_a_terminal_gets_a_bar(tmp_path: Path, run: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, "merge", run, "-o", tmp_path / "out"],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(theirs)
    shown = b""
    while chunk := read_from(ours):
        shown += chunk
    os.close(ours)
    assert process.wait() == 0
    assert b"\x1b[" in shown
    assert b"Wrote " in shown
    assert b"Merging 21" not in shown


def read_from(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_merge_leaves_nothing(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    # Large enough that the signal arrives long before the last tensor.
    write_llama(tmp_path / "base", layers=4, hidden=1024)
    run = write_run(tmp_path / "run", tmp_path / "base", trained={Q: torch.ones(1024, 1024)})
    process = subprocess.Popen(
        [PROGRAM, "merge", run, "-o", tmp_path / "out", "--dtype", "float16"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while bytes_written(tmp_path) == 0 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors.splitlines()[-1] == "Interrupted. Nothing was written."
    assert sorted(os.listdir(tmp_path)) == ["base", "run"]


def bytes_written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(".out.*/model.safetensors"))
