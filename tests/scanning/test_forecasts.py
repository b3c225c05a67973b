"""The forecast of a scan: its arithmetic, what it measures and keeps, and what is said of it."""

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from rich.console import Console

from making import write_llama
from spectrum_ft.checkpoints.checkpoint import open_checkpoint
from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.environment import current_environment
from spectrum_ft.errors import CheckpointError, ComputeError, OutputError
from spectrum_ft.record_files import parse_record, to_json, to_record
from spectrum_ft.records.scan_forecasts import (
    SCAN_FORECAST_SCHEMA,
    KindForecast,
    ScanForecast,
)
from spectrum_ft.records.scans import ModelInfo
from spectrum_ft.scanning.compute import SLACK_BYTES, Compute
from spectrum_ft.scanning.estimating.calibrating import machine_of, read_calibration
from spectrum_ft.scanning.estimating.costs import ASSUMED_EIGENVALUES, ASSUMED_GRAM, Curve, Speeds
from spectrum_ft.scanning.estimating.forecasting import forecast_of_long_scan, forecast_scan
from spectrum_ft.scanning.estimating.measuring_speed import SHAPES, shapes_for, speeds_from
from spectrum_ft.scanning.estimating.schedules import Task, makespan
from spectrum_ft.scanning.jobs import ScanJob, prepare_scan
from spectrum_ft.scanning.needs import bytes_needed
from spectrum_ft.spectra.solvers import CpuSolver
from spectrum_ft_cli.scan_forecast import estimate, say_forecast
from spectrum_ft_cli.talk import Talk
from spectrum_ft_reports.scan_forecasts.terminal import print_scan_forecast
from spectrum_ft_reports.scan_forecasts.views import scan_forecast_view

Approved = Callable[[str, str], str]
CPU = Compute(device="cpu")
HOSTILE = "evil\x1b[2J\u202e[red]\n</script>"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfReach:
    """A file of weights that cannot be read."""

    name: str = "hf://owner/name@commit/model.safetensors"

    def read_range(self, offset: int, num_bytes: int) -> NDArray[np.uint8]:
        raise CheckpointError(f"{self.name}: read {num_bytes} bytes at {offset}", None)


def an_entry(*shape: int, dtype: str = "float32") -> TensorEntry:
    num_bytes = {"float32": 4, "bfloat16": 2}[dtype] * math.prod(shape)
    return TensorEntry(
        name="w", shape=shape, dtype=dtype, file=OutOfReach(), offset=0, num_bytes=num_bytes
    )


def job_of(folder: Path, *, copies: int = 1, shape: tuple[int, int] | None = None) -> ScanJob:
    """The scan of a tiny Llama whose files are out of reach, its matrices repeated or enlarged."""
    write_llama(folder, layers=4)
    job = prepare_scan(open_checkpoint(str(folder)))
    entry = an_entry(*shape) if shape else None
    targets = [
        replace(target, entry=replace(entry or target.entry, file=OutOfReach()))
        for target in job.targets
        for _ in range(copies)
    ]
    return replace(job, targets=tuple(targets))


def test_the_largest_come_first_and_the_last_worker_decides() -> None:
    tasks = [Task(seconds, 0) for seconds in (3.0, 3.0, 2.0, 2.0, 2.0)]
    # By hand: 3 3 | 2 at 3 until 5, 2 at 3 until 5, 2 at 5 until 7.
    assert makespan(tasks, workers=2, memory_bytes=0) == 7.0
    assert makespan(tasks, workers=1, memory_bytes=0) == 12.0
    assert makespan(tasks, workers=99, memory_bytes=0) == 3.0
    assert makespan([], workers=2, memory_bytes=0) == 0.0


def test_memory_keeps_workers_waiting() -> None:
    tasks = [Task(3.0, 6), Task(2.0, 5), Task(1.0, 5), Task(1.0, 20)]
    # The second waits until 3, then the third has room beside it; the last runs alone, from 5.
    assert makespan(tasks, workers=4, memory_bytes=10) == 6.0
    assert makespan(tasks, workers=4, memory_bytes=100) == 3.0


def test_a_curve_goes_through_what_was_measured_and_keeps_its_form_beyond() -> None:
    curve = Curve(assumed=((100, 8e-11), (400, 2e-11)), measured={100: 1.6e-10, 400: 2e-11})
    assert curve.at(100) == pytest.approx(1.6e-10, rel=1e-12)
    assert curve.at(400) == pytest.approx(2e-11, rel=1e-12)
    # Half-way in the logarithm: the means of 8 and 2, and of twice and once, are 4 and sqrt(2).
    assert curve.at(200) == pytest.approx(4e-11 * math.sqrt(2.0), rel=1e-12)
    assert curve.at(10_000) == pytest.approx(2e-11, rel=1e-12)
    assert curve.at(1) == pytest.approx(1.6e-10, rel=1e-12)
    assert Curve(assumed=curve.assumed).at(400) == pytest.approx(2e-11, rel=1e-12)


def test_speeds_are_found_again_in_timings_made_from_them() -> None:
    gram = Curve(assumed=ASSUMED_GRAM.assumed, measured={512: 3e-11, 1024: 2e-11})
    roots = Curve(assumed=ASSUMED_EIGENVALUES.assumed, measured={256: 2e-10, 4096: 1e-10})
    made = {(p, q): gram.at(p) * p * p * q + roots.at(p) * p**3 for p, q in SHAPES}
    found = speeds_from(made, 1e-9, {})
    for p in (256, 700, 2048, 5000):
        assert found.gram.at(p) == pytest.approx(gram.at(p), rel=1e-9)
    for p in (256, 512, 1024, 2048, 4096):
        assert found.eigenvalues.at(p) == pytest.approx(roots.at(p), rel=1e-9)


def test_noise_never_makes_a_part_of_the_cost_negative() -> None:
    odd = {(512, 512): 2.0, (512, 4096): 1.0, (1024, 1024): 1e-9}
    speeds = speeds_from(odd, 1e-9, {})
    for shape in ((1, 1), (512, 512), (512, 4096), (10**6, 10**9)):
        cost = speeds.cost(an_entry(*shape))
        assert cost.gram > 0.0
        assert cost.eigenvalues > 0.0
        assert cost.total == cost.reading + cost.computing
        once = cost.reading + 2.0 * (cost.gram + cost.eigenvalues)
        assert cost.again == pytest.approx(0.1 * once, rel=1e-12)


def test_a_transpose_costs_the_same_and_fewer_bytes_cost_less() -> None:
    speeds = Speeds(byte_seconds=1e-9, decode_seconds={"bfloat16": 0.0, "float32": 0.0})
    tall, wide = speeds.cost(an_entry(1000, 10)), speeds.cost(an_entry(10, 1000))
    assert tall == wide
    half = speeds.cost(an_entry(1000, 10, dtype="bfloat16"))
    assert tall.reading - half.reading == pytest.approx(2e4 * 1e-9, rel=1e-6)
    assert tall.gram == half.gram


def test_only_sizes_that_a_model_has_are_measured() -> None:
    assert shapes_for(1) == shapes_for(256) == ((256, 256),)
    assert max(shapes_for(576)) == (1024, 4096)
    assert shapes_for(4096) == shapes_for(10**9) == SHAPES


def test_a_forecast_reads_no_weight_and_its_parts_add_up(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    forecast = forecast_scan(job, CPU, keep=False)
    assert forecast.matrices == sum(kind.matrices for kind in forecast.kinds) == 28
    assert [kind.seconds for kind in forecast.kinds] == sorted(
        (kind.seconds for kind in forecast.kinds), reverse=True
    )
    parts = (
        *(forecast.reading_seconds, forecast.gram_seconds),
        *(forecast.eigenvalues_seconds, forecast.again_seconds),
    )
    assert sum(kind.seconds for kind in forecast.kinds) == pytest.approx(sum(parts), rel=1e-9)
    assert min(parts) > 0.0
    assert 0.0 < forecast.seconds <= forecast.unbounded_seconds * (1 + 1e-9) < 60.0
    assert forecast.read_bytes == sum(target.entry.num_bytes for target in job.targets)
    assert forecast.streamed
    assert forecast.skipped["vector"] == 9
    assert sum(forecast.skipped.values()) == len(job.skipped)
    again = to_record(
        parse_record(to_json(forecast).encode(), "f"), ScanForecast, SCAN_FORECAST_SCHEMA, "f"
    )
    assert again == forecast


def test_more_workers_than_processors_are_not_faster_but_take_memory(tmp_path: Path) -> None:
    job = job_of(tmp_path, copies=8, shape=(200, 4000))
    few = forecast_scan(job, CPU)
    many = forecast_scan(job, replace(CPU, workers=64))
    assert many.workers == few.workers
    assert many.gram_seconds == few.gram_seconds
    assert many.memory_bytes > few.memory_bytes + 40 * 4 * 200 * 4000


def test_little_memory_takes_longer_and_too_little_is_refused(tmp_path: Path) -> None:
    job = job_of(tmp_path, shape=(40, 400_000))
    least = bytes_needed(job.targets[0].entry, "gram64")
    assert least < 1.8 * bytes_needed(job.targets[0].entry, "gram32")  # no room for two
    resident = psutil.Process().memory_info().rss
    memory = resident + SLACK_BYTES + least + 8 * 2**20
    tight = forecast_scan(job, replace(CPU, memory_bytes=memory))
    # One at a time rather than one for each worker, 28 equal ones in all.
    rounds = math.ceil(28 / tight.workers)
    assert tight.seconds / tight.unbounded_seconds == pytest.approx(28 / rounds, rel=1e-9)
    assert tight.memory_bytes <= memory
    with pytest.raises(ComputeError, match="too little"):
        forecast_scan(job, replace(CPU, memory_bytes=10**7))


def test_a_cluster_is_not_forecast(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    with pytest.raises(ComputeError, match="not for a cluster"):
        forecast_scan(job, Compute(engine="ray"))
    assert forecast_of_long_scan(job, Compute(engine="ray")) is None


def kept_files(cache: Path) -> list[Path]:
    return sorted(cache.glob("speed-*.json"))


def test_what_was_measured_is_kept_and_used_again(tmp_path: Path, own_cache: Path) -> None:
    job = job_of(tmp_path)
    forecast_scan(job, CPU, keep=False)
    assert not own_cache.exists()
    first = forecast_scan(job, CPU)
    (file,) = kept_files(own_cache)
    before = file.read_bytes()
    table = json.loads(before)
    assert [(t["rows"], t["columns"]) for t in table["timings"]] == [(256, 256)]
    again = forecast_scan(job, CPU)
    assert file.read_bytes() == before
    assert again.eigenvalues_seconds == first.eigenvalues_seconds
    # A slower machine by the file's word, and no machine's by its own measurement.
    table["timings"][0]["seconds"] *= 1000.0
    file.write_text(json.dumps(table))
    assert forecast_scan(job, CPU).eigenvalues_seconds > 100.0 * first.eigenvalues_seconds
    measured = forecast_scan(job, CPU, keep=False)
    assert measured.eigenvalues_seconds < 50.0 * first.eigenvalues_seconds


def test_a_larger_model_adds_to_what_is_kept(tmp_path: Path, own_cache: Path) -> None:
    forecast_scan(job_of(tmp_path / "small"), CPU)
    (file,) = kept_files(own_cache)
    small = json.loads(file.read_bytes())["timings"]
    forecast_scan(job_of(tmp_path / "large", shape=(500, 600)), CPU)
    large = json.loads(file.read_bytes())["timings"]
    assert large[: len(small)] == small
    assert [(t["rows"], t["columns"]) for t in large] == list(shapes_for(512))


def spoiled(table: dict[str, object], **changes: object) -> bytes:
    return json.dumps({**table, **changes}).encode()


def test_what_is_damaged_foreign_or_old_is_measured_again(tmp_path: Path, own_cache: Path) -> None:
    job = job_of(tmp_path)
    forecast_scan(job, CPU)
    (file,) = kept_files(own_cache)
    table = json.loads(file.read_bytes())
    timing = {"rows": 256, "columns": 256, "seconds": 1e3}
    slow = [timing]
    bad = [
        b"",
        b"\xff\xfe not JSON",
        b"[]",
        b"[" * 100_000,
        spoiled(table, timings=[{**timing, "seconds": -1.0}]),
        spoiled(table, timings=[{**timing, "seconds": 0}]),
        spoiled(table, timings=[{**timing, "seconds": "1"}]),
        json.dumps({**table, "timings": [{**timing, "seconds": 1e999}]}).encode(),
        spoiled(table, timings=[{**timing, "rows": 0}]),
        spoiled(table, timings=slow, machine={**table["machine"], "processor": "another"}),
        spoiled(table, timings=slow, schema="spectrum-ft/calibration@2"),
        spoiled(table, timings=slow, schema="spectrum-ft/scan@1"),
        spoiled(table, timings=slow, measured="2020-01-01"),
        spoiled(table, timings=slow, measured="2999-01-01"),
        spoiled(table, timings=slow, measured="yesterday"),
    ]
    machine = machine_of(CpuSolver(), table["machine"]["workers"])
    assert read_calibration(file, machine) is not None
    for data in bad:
        file.write_bytes(data)
        assert read_calibration(file, machine) is None, data[:100]
    assert forecast_scan(job, CPU).seconds < 1e3
    assert read_calibration(file, machine) is not None


def test_a_cache_that_cannot_be_written_does_not_stop_a_forecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SPECTRUM_FT_CACHE", str(tmp_path / "file" / "cache"))
    assert forecast_scan(job_of(tmp_path / "model"), CPU).matrices == 28


def test_a_long_scan_is_announced_in_one_line_and_a_short_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], own_cache: Path
) -> None:
    say_forecast(job_of(tmp_path / "short"), CPU, Talk(), cache=True)
    assert capsys.readouterr().err == ""
    assert not own_cache.exists()
    long = job_of(tmp_path / "long", copies=800, shape=(900, 1024))
    say_forecast(long, CPU, Talk(), cache=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("This will take about ")
    assert "with " in line
    assert " of memory, if the network keeps up; " in line
    quiet = Talk()
    quiet.quiet = True
    say_forecast(long, CPU, quiet, cache=True)
    assert capsys.readouterr().err == ""


FORECAST = ScanForecast(
    model=ModelInfo(
        source="~/models/small",
        revision=None,
        fingerprint="f" * 64,
        parameters=8_030_261_248,
        layers=32,
    ),
    matrices=224,
    skipped={"vector": 65, "outside the blocks (head)": 1},
    workers=2,
    seconds=832.0,
    unbounded_seconds=700.0,
    reading_seconds=60.0,
    gram_seconds=600.0,
    eigenvalues_seconds=640.0,
    again_seconds=100.0,
    memory_bytes=3 * 2**29,
    read_bytes=15 * 2**30,
    streamed=False,
    kinds=(
        KindForecast(kind="mlp.down_proj", matrices=32, largest=(4096, 14336), seconds=1000.0),
        KindForecast(
            kind="block_sparse_moe.experts.gate_and_up_projection_weights",
            matrices=12_288,
            largest=(14336, 4096),
            seconds=399.0,
        ),
        KindForecast(kind="self_attn.k_proj", matrices=32, largest=(1024, 4096), seconds=1.0),
    ),
    measured="2026-11-24",
    environment=current_environment("cpu"),
    command="spectrum scan",
)


def rendered(forecast: ScanForecast, width: int, *, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(file=file, width=width, highlight=False, no_color=True)
    print_scan_forecast(console, scan_forecast_view(forecast))
    file.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert max(map(len, lines)) <= width
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


CASES = {
    "scan-forecast-60": lambda: rendered(FORECAST, 60),
    "scan-forecast-80": lambda: rendered(FORECAST, 80),
    "scan-forecast-80-ascii": lambda: rendered(FORECAST, 80, encoding="ascii"),
    "scan-forecast-120": lambda: rendered(replace(FORECAST, streamed=True), 120),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_forecast_reads_as_it_was_approved(name: str, approved: Approved) -> None:
    text = CASES[name]()
    assert text == approved(name, text)


def test_a_forecast_of_nothing_can_be_shown() -> None:
    nothing = replace(
        FORECAST,
        kinds=(replace(FORECAST.kinds[0], seconds=0.0),),
        seconds=0.0,
        unbounded_seconds=0.0,
        reading_seconds=0.0,
        gram_seconds=0.0,
        eigenvalues_seconds=0.0,
        again_seconds=0.0,
        skipped={},
        measured=None,
    )
    shown = rendered(nothing, 60)
    assert "about 0.0 s" in shown
    assert "speed of another" in shown


def test_what_strangers_wrote_is_spelled_out() -> None:
    hostile = replace(
        FORECAST,
        model=replace(FORECAST.model, source=HOSTILE),
        skipped={HOSTILE: 1},
        kinds=(replace(FORECAST.kinds[0], kind=HOSTILE),),
        measured=HOSTILE,
        environment=replace(FORECAST.environment, device=HOSTILE),
    )
    shown = rendered(hostile, 80)
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_an_estimate_is_printed_or_written_as_a_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write_llama(tmp_path / "model", layers=4)
    target = tmp_path / "forecast.json"

    def run(*, as_json: bool, output: Path | None) -> str:
        estimate(
            prepare_scan(open_checkpoint(str(tmp_path / "model")), kinds=("mlp.*",)),
            Talk(),
            compute=CPU,
            cache=True,
            as_json=as_json,
            output=output,
            force=False,
        )
        return capsys.readouterr().out

    shown = run(as_json=False, output=target)
    assert "mlp.down_proj" in shown
    assert "time      about " in shown
    record = json.loads(target.read_bytes())
    printed = json.loads(run(as_json=True, output=None))
    assert printed["schema"] == record["schema"] == SCAN_FORECAST_SCHEMA
    assert printed["matrices"] == record["matrices"] == 12
    assert not printed["streamed"]
    with pytest.raises(OutputError, match="already exists"):
        run(as_json=False, output=target)
