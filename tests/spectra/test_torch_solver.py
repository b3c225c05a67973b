"""The GPU's solver, on torch's CPU device: values, faults, batches, threads, a full device."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import oracles
from spectrum_ft.errors import ComputeError
from spectrum_ft.spectra import device_lanes, torch_solver
from spectrum_ft.spectra.memory_budget import MemoryBudget
from spectrum_ft.spectra.scores import snr, snr_mp
from spectrum_ft.spectra.solvers import (
    METHODS,
    CpuSolver,
    Matrix,
    Method,
    OutOfDeviceMemoryError,
    UnscorableError,
    Values,
    uncertainty,
)
from spectrum_ft.spectra.torch_solver import TorchSolver

GRAMS: tuple[Method, ...] = ("gram32", "gram64")
SHAPES = [(64, 64), (192, 64), (64, 192), (300, 17), (1, 40), (129, 128)]


Array = NDArray[np.floating[Any]]


def handing_over(matrices: Sequence[Array]) -> list[Callable[[], Matrix]]:
    """What hands over a copy of each matrix, in C order, float32 unless float64."""

    def take_of(matrix: Array) -> Callable[[], Matrix]:
        if matrix.dtype == np.float64:
            return lambda: np.array(matrix, dtype=np.float64, order="C")
        return lambda: np.array(matrix, dtype=np.float32, order="C")

    return [take_of(matrix) for matrix in matrices]


def solve(matrices: Sequence[Array], method: Method = "gram32") -> list[Values]:
    """The values of matrices that all have some."""
    found = TorchSolver("cpu").solve(handing_over(matrices), method)
    values = [each for each in found if not isinstance(each, UnscorableError)]
    assert len(values) == len(matrices)
    return values


def reasons(
    solver: TorchSolver | CpuSolver, matrices: Sequence[Array], method: Method = "gram32"
) -> list[str | None]:
    """Why each matrix has no values; None where it has."""
    found = solver.solve(handing_over(matrices), method)
    return [str(each) if isinstance(each, UnscorableError) else None for each in found]


def gaussian(shape: tuple[int, int], seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def trained(shape: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """Noise under a spectrum that falls like a trained matrix's, in bfloat16's 8 bits."""
    p = min(shape)
    chosen = 3.0 * np.arange(1, p + 1) ** -0.7 + 0.3
    matrix = oracles.with_spectrum(chosen, shape, seed) + 0.005 * gaussian(shape, seed)
    mantissa, exponent = np.frexp(matrix)
    return np.ldexp(np.round(mantissa * 256) / 256, exponent).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_method_agrees_with_the_svd_within_its_own_bound(
    shape: tuple[int, int], method: Method
) -> None:
    matrices = [gaussian(shape, 1), trained(shape, 2)]
    for matrix, found in zip(matrices, solve(matrices, method), strict=True):
        truth = oracles.singular_values(matrix)
        bound = uncertainty(found, shape, method) + uncertainty(found, shape, "svd64")
        assert found.dtype == np.float64
        assert np.all(np.diff(found) <= 0)
        assert np.all(np.abs(found - truth) <= bound)


@pytest.mark.parametrize("shape", [(256, 256), (320, 128), (128, 320)])
@pytest.mark.parametrize("make", [gaussian, trained])
def test_scores_agree_with_the_cpu_and_with_the_truth(
    make: Callable[[tuple[int, int], int], NDArray[np.float32]], shape: tuple[int, int]
) -> None:
    matrix = make(shape, 3)
    [values] = solve([matrix])
    [on_cpu] = CpuSolver().solve(handing_over([matrix]), "gram32")
    truth = oracles.singular_values(matrix)
    assert not isinstance(on_cpu, UnscorableError)
    for other in (on_cpu, truth):
        # The bar is 1e-4; float32 sums of a few hundred terms come this close.
        assert snr(values, shape) == pytest.approx(snr(other, shape), rel=1e-5)
        assert snr_mp(values, shape) == pytest.approx(snr_mp(other, shape), rel=1e-5)
    assert snr(values, shape) == pytest.approx(oracles.published_snr(truth, shape), rel=1e-5)
    assert snr_mp(values, shape) == pytest.approx(
        oracles.marchenko_pastur_snr(truth, shape), rel=1e-5
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_bound_holds_for_low_ranks_and_over_six_decades(method: Method) -> None:
    falling = oracles.with_spectrum(np.geomspace(1.0, 1e-6, 96), (96, 200), seed=4)
    low = oracles.with_spectrum(np.r_[np.full(5, 2.0), np.zeros(91)], (96, 200), seed=5)
    matrices = [falling.astype(np.float32), low.astype(np.float32)]
    for matrix, found in zip(matrices, solve(matrices, method), strict=True):
        truth = oracles.singular_values(matrix)
        bound = uncertainty(found, (96, 200), method) + uncertainty(found, (96, 200), "svd64")
        assert np.all(np.abs(found - truth) <= bound)


@pytest.mark.parametrize("method", METHODS)
def test_matrices_without_values_get_the_cpus_reason_and_spoil_no_other(method: Method) -> None:
    good = gaussian((40, 60), 6)
    bad = [good.copy() for _ in range(3)]
    bad[0][39, 59], bad[1][0, 0], bad[2][3, 3] = np.nan, np.inf, -np.inf
    matrices = [good, *bad, np.zeros_like(good), good]
    ours = reasons(TorchSolver("cpu"), matrices, method)
    assert ours == reasons(CpuSolver(), matrices, method)
    assert [reason is None for reason in ours] == [True, False, False, False, False, True]
    found = TorchSolver("cpu").solve(handing_over(matrices), method)
    truth = oracles.singular_values(good)
    for place in (0, -1):
        values = found[place]
        assert not isinstance(values, UnscorableError)
        np.testing.assert_allclose(values, truth, rtol=2e-6)


@pytest.mark.parametrize("method", GRAMS)
def test_a_reason_keeps_no_frame_and_so_no_weights(method: Method) -> None:
    [found] = TorchSolver("cpu").solve(handing_over([np.zeros((9, 9))]), method)
    assert isinstance(found, UnscorableError)
    assert found.__traceback__ is None
    assert found.__context__ is None


def test_float64_weights_out_of_range_get_the_cpus_reason() -> None:
    plain = gaussian((20, 30), 7).astype(np.float64)
    matrices = [plain * 1e70, plain * 1e-70, plain]
    ours = reasons(TorchSolver("cpu"), matrices)
    assert ours == reasons(CpuSolver(), matrices)
    assert ours[2] is None
    assert "out of the range" in str(ours[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("exponent", [-130, -60, 3, 100])
def test_scaling_by_a_power_of_two_scales_the_values_exactly(method: Method, exponent: int) -> None:
    # From denormals to where the square of an entry overflows float32; few bits, so none is lost.
    matrix = np.round(np.random.default_rng(8).standard_normal((40, 24)) * 64) / 64
    [plain] = solve([matrix.astype(np.float32)], method)
    [scaled] = solve([np.ldexp(matrix, exponent).astype(np.float32)], method)
    assert np.array_equal(np.ldexp(plain, exponent), scaled)


def test_a_batch_of_very_different_sizes_scales_each_by_itself() -> None:
    matrices = [np.ldexp(gaussian((32, 48), 9), exponent) for exponent in (-100, 0, 100)]
    for matrix, found in zip(matrices, solve(matrices), strict=True):
        np.testing.assert_allclose(found, oracles.singular_values(matrix), rtol=1e-5)


@pytest.mark.parametrize("method", GRAMS)
@pytest.mark.parametrize("shape", [(48, 48), (200, 80), (1, 7)])
def test_a_batch_finds_what_each_matrix_alone_does(shape: tuple[int, int], method: Method) -> None:
    matrices = [gaussian(shape, seed) for seed in range(9)]
    for matrix, in_batch in zip(matrices, solve(matrices, method), strict=True):
        [alone] = solve([matrix], method)
        # Sums may be taken in another order.
        roundoff = 1e-6 if method == "gram32" else 1e-13
        np.testing.assert_allclose(in_batch, alone, rtol=0, atol=roundoff * alone[0])


def test_float32_and_float64_weights_may_share_a_batch() -> None:
    single, double = gaussian((32, 48), 10), gaussian((32, 48), 11).astype(np.float64) / 3
    orders: list[list[Array]] = [[single, double, single], [double, single]]
    for matrices in orders:
        for matrix, found in zip(matrices, solve(matrices, "gram64"), strict=True):
            # 1/3 of a float32 does not fit float32: 1e-9 shows that nothing was narrowed.
            np.testing.assert_allclose(found, oracles.singular_values(matrix), rtol=1e-9)


def test_no_matrices_give_no_values() -> None:
    assert TorchSolver("cpu").solve([], "gram32") == []


def test_matrices_larger_than_a_staging_piece_arrive_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_lanes, "STAGING_BYTES", 1000)  # 30,720 bytes: 31 pieces
    monkeypatch.setattr(torch_solver, "_PANEL_BYTES", 5000)  # and several panels
    matrix = gaussian((64, 120), 12)
    for method in GRAMS:
        [found] = solve([matrix], method)
        np.testing.assert_allclose(found, oracles.singular_values(matrix), rtol=1e-5)


def test_each_matrix_is_taken_once_and_let_go() -> None:
    # Of a whole batch only one matrix may be on this side at a time.
    alive: list[int] = []
    now = threading.local()
    now.count = 0

    class Counted(np.ndarray[Any, Any]):
        def __del__(self) -> None:
            if self.base is not None and self.shape == (30, 50):
                now.count -= 1

    def take() -> Matrix:
        now.count += 1
        alive.append(now.count)
        counted: Matrix = gaussian((30, 50), 13).view(Counted)
        return counted

    found = TorchSolver("cpu").solve([take] * 5, "gram32")
    assert len(found) == 5
    assert alive == [1] * 5


def test_threads_that_share_a_solver_find_what_one_finds() -> None:
    solver = TorchSolver("cpu")

    def values_of(batch: list[Array]) -> list[bytes]:
        found = solver.solve(handing_over(batch), "gram32")
        return [each.tobytes() for each in found if not isinstance(each, UnscorableError)]

    batches: list[list[Array]] = [
        [gaussian(shape, seed) for seed in range(4)] for shape in (*SHAPES, *SHAPES, *SHAPES)
    ]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(values_of, batches)) == [values_of(batch) for batch in batches]


OUT_OF_MEMORY: list[RuntimeError] = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 64.00 GiB."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError(
        "cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling `cusolverDnCreate(handle)`"
    ),
    torch.AcceleratorError("CUDA error: out of memory"),
]


@pytest.mark.parametrize("fault", OUT_OF_MEMORY)
def test_a_full_device_is_said_and_keeps_nothing_of_the_batch(
    fault: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is no device to fill here, so torch says what it would say on one.
    def fail(_: torch.Tensor) -> torch.Tensor:
        raise fault

    solver = TorchSolver("cpu")
    matrices = [gaussian((16, 16), seed) for seed in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(torch.linalg, "eigvalsh", fail)
        with pytest.raises(OutOfDeviceMemoryError, match="no room for 3 matrices") as raised:
            solver.solve(handing_over(matrices), "gram32")
    # A fault in its context would hold frames, and those the tensors.
    assert raised.value.__context__ is None
    assert len(solver.solve(handing_over(matrices), "gram32")) == 3


def test_a_device_that_fails_is_one_line_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with ...")

    monkeypatch.setattr(torch.linalg, "eigvalsh", fail)
    with pytest.raises(ComputeError, match="illegal memory access") as raised:
        TorchSolver("cpu").solve(handing_over([gaussian((8, 8), 0)]), "gram32")
    assert "Compile" not in raised.value.message
    assert "--device cpu" in str(raised.value.hint)


def test_another_error_stays_what_it_is() -> None:
    def take() -> Matrix:
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        TorchSolver("cpu").solve([take], "gram32")


def test_eigenvalues_that_do_not_converge_on_the_device_are_found_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrices = [gaussian((24, 40), seed) for seed in range(3)]
    find = torch.linalg.eigvalsh
    given_up: list[int] = []

    def give_up_on_the_second(gram: torch.Tensor) -> torch.Tensor:
        marked = (gram.diagonal(dim1=1, dim2=2).sum(1) - traces[1]).abs() < 1e-3
        if bool(marked.any()):
            given_up.append(len(gram))
            gram = torch.full_like(gram, torch.nan)  # so it raises LinAlgError for real
        values: torch.Tensor = find(gram)
        return values

    plain = solve(matrices)
    scaled = [matrix / 2.0 ** np.frexp(np.abs(matrix).max())[1] for matrix in matrices]
    traces = [float((matrix.astype(np.float64) ** 2).sum()) for matrix in scaled]
    monkeypatch.setattr(torch.linalg, "eigvalsh", give_up_on_the_second)
    for values, expected, matrix in zip(solve(matrices), plain, matrices, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-12)  # float64 by either
        np.testing.assert_allclose(values, oracles.singular_values(matrix), rtol=1e-5)
    assert given_up == [3, 1]  # the batch, then that one alone


def test_eigenvalues_that_nothing_finds_are_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(gram: torch.Tensor) -> torch.Tensor:
        raise torch.linalg.LinAlgError("no convergence")  # type: ignore[attr-defined]

    def give_up_too(gram: Array) -> Array:
        raise np.linalg.LinAlgError

    monkeypatch.setattr(torch.linalg, "eigvalsh", give_up)
    monkeypatch.setattr("spectrum_ft.spectra.solvers.eigenvalues", give_up_too)
    solver, matrix = TorchSolver("cpu"), gaussian((8, 8), 0)
    [found] = solver.solve(handing_over([matrix]), "gram32")
    assert [str(found)] == reasons(CpuSolver(), [matrix])
    assert isinstance(found, UnscorableError)
    assert found.__context__ is None


def test_products_are_without_tf32_and_the_setting_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    switch = torch.backends.cuda.matmul
    seen: list[str] = []
    multiply = torch.Tensor.__matmul__

    def watched(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        seen.append(switch.fp32_precision)
        return multiply(one, other)

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert switch.fp32_precision == "tf32"
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda seed: solve([gaussian((30, 30), seed)]), range(12)))
        assert set(seen) == {"ieee"}
        assert switch.fp32_precision == "tf32"
        assert switch.allow_tf32  # the older interface raises if the two disagree
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("shape", "count"), [((4096, 14336), 1), ((1024, 4096), 4), ((64, 64), 64), ((1, 1), 64)]
)
def test_small_matrices_are_solved_many_at_a_time(shape: tuple[int, int], count: int) -> None:
    assert TorchSolver("cpu").batch_size(shape) == count


def test_the_room_is_never_exceeded_and_too_large_a_wish_waits_to_be_alone() -> None:
    room = MemoryBudget(100)
    lock = threading.Lock()
    lent: list[int] = []
    worst: list[list[int]] = []

    def use(num_bytes: int) -> None:
        with room.reserve(min(num_bytes, room.total)):  # as the solver asks
            with lock:
                lent.append(num_bytes)
                worst.append(sorted(lent))
            threading.Event().wait(0.002)
            with lock:
                lent.remove(num_bytes)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, [60, 30, 10, 250, 50, 50, 1, 99] * 6))
    assert all(sum(together) <= 100 or together == [250] for together in worst)
    assert any(len(together) > 1 for together in worst)
