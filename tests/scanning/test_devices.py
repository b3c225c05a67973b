"""Which solvers the names of devices stand for, with and without a GPU."""

import subprocess
import sys

import pytest

from spectrum_ft.errors import ComputeError
from spectrum_ft.scanning import devices
from spectrum_ft.scanning.devices import num_gpus, solvers_for
from spectrum_ft.spectra.solvers import CpuSolver

without_gpu = pytest.mark.skipif(num_gpus() > 0, reason="there is a GPU here")


def test_the_cpu_is_one_solver() -> None:
    [solver] = solvers_for("cpu")
    assert isinstance(solver, CpuSolver)
    assert solver.device == "cpu"


@without_gpu
def test_auto_is_the_cpu_where_there_is_no_gpu_and_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from spectrum_ft.scanning.devices import solvers_for\n"
        "assert [solver.device for solver in solvers_for('auto')] == ['cpu']\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@without_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_a_gpu_that_is_asked_for_and_not_there_is_an_error(device: str) -> None:
    with pytest.raises(ComputeError, match=f"--device {device}: there is no NVIDIA GPU") as raised:
        solvers_for(device)
    assert "--device cpu" in str(raised.value.hint)


@pytest.mark.parametrize(
    "device",
    [
        *("", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:1.5", "cuda:0x1", "cuda:0\n", " cpu"),
        *("cuda:٣", "mps", "auto:0", "cuda:" + "9" * 5000, "\x1b[31m" * 90),
    ],
)
def test_an_unknown_device_is_an_error_of_one_short_line(device: str) -> None:
    with pytest.raises(ComputeError, match="unknown device") as raised:
        solvers_for(device)
    assert raised.value.message.isprintable()
    assert len(raised.value.message) < 80
    assert "auto, cpu, cuda or cuda:N" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("count", "hint"), [(1, "use cuda:0; see nvidia-smi"), (4, "use cuda:0 to cuda:3")]
)
def test_a_number_beyond_the_gpus_here_is_told_which_there_are(
    count: int, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_num_usable", lambda: count)
    with pytest.raises(ComputeError, match="cuda:7: there is no such GPU here") as raised:
        solvers_for("cuda:7")
    assert str(raised.value.hint).startswith(hint)


def test_a_gpu_that_torch_cannot_use_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this torch can use the GPU here")
    monkeypatch.setattr(devices, "num_gpus", lambda: 2)
    assert [solver.device for solver in solvers_for("auto")] == ["cpu"]
    with pytest.raises(ComputeError, match="cannot be used by this torch"):
        solvers_for("cuda")
