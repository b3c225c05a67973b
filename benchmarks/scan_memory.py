"""Measure the peak memory of `spectrum scan` on a large checkpoint, and hold it to its bounds."""

import json
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from processes import Cost, machine, run_child
from scan_sides import memory_bound, run_scan

BUILDER = str(Path(__file__).with_name("scan_checkpoint.py"))
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
SIZE = click.IntRange(min=16)
TIMINGS = ("seconds", "command")
"""What two reports of the same scan may differ in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to scan, and the most memory that it may take."""

    label: str
    """What is special about it."""
    options: tuple[str, ...]
    """What says so to `spectrum scan`."""
    store: str
    """The folder of its spectra; a later case with the same one finds everything there."""
    bounds_mb: dict[str, float]
    """Its limits, by what they are called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a case took."""

    case: Case
    """The case."""
    cost: Cost
    """Its cost."""
    same: bool
    """Whether the report is that of the first case, timings aside."""

    @property
    def broken(self) -> list[str]:
        """What went wrong."""
        bounds = self.case.bounds_mb.items()
        broken = [name for name, bound_mb in bounds if self.cost.peak_mb > bound_mb]
        return broken if self.same else [*broken, "another report"]


def make_cases(
    model: str, workers: tuple[int, ...], memory_mb: tuple[int, ...], scratch: Path
) -> list[Case]:
    """Each number of workers from an empty store, the first again, and each limit of memory."""
    bounds = {count: memory_bound(model, count)["bound_mb"] for count in workers}
    cases = [
        Case(
            label=_workers(count),
            options=("--workers", str(count)),
            store=str(scratch / f"workers-{count}"),
            bounds_mb={"bound": bounds[count]},
        )
        for count in workers
    ]
    cases.append(
        Case(
            label="the first again",
            options=cases[0].options,
            store=cases[0].store,
            bounds_mb=cases[0].bounds_mb,
        )
    )
    most = max(workers)
    for limit in memory_mb:
        cases.append(
            Case(
                label=f"{_workers(most)} in {limit} MB",
                options=("--workers", str(most), "--memory", f"{limit}MB"),
                store=str(scratch / f"memory-{limit}"),
                bounds_mb={"bound": bounds[most], "--memory": limit},
            )
        )
    return cases


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def run_cases(model: str, cases: list[Case]) -> list[Finding]:
    """What each case took, in turn, shown as it is done."""
    findings: list[Finding] = []
    first: Any = None
    for case in cases:
        cost, report = run_scan(model, *case.options, store=case.store)
        plain = {key: value for key, value in report.items() if key not in TIMINGS}
        first = first or plain
        findings.append(Finding(case=case, cost=cost, same=plain == first))
        show(findings[-1])
    return findings


def show(finding: Finding) -> None:
    """Print a line for people."""
    bounds = ", ".join(f"{name} {mb:,.0f}" for name, mb in finding.case.bounds_mb.items())
    verdict = "BROKEN: " + ", ".join(finding.broken) if finding.broken else "kept"
    cost = finding.cost
    click.echo(
        f"{finding.case.label:22}{cost.wall_seconds:8.1f} s{cost.peak_mb:8,.0f} MB"
        f"   {bounds}: {verdict}"
    )


def as_table(finding: Finding) -> dict[str, Any]:
    """A finding ready for JSON."""
    return {
        "label": finding.case.label,
        "wall_seconds": finding.cost.wall_seconds,
        "cpu_seconds": finding.cost.cpu_seconds,
        "peak_mb": finding.cost.peak_mb,
        "bounds_mb": finding.case.bounds_mb,
        "broken": finding.broken,
    }


@click.command()
@click.option(
    "--gigabytes", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True
)
@click.option("--dtype", type=click.Choice(["BF16", "F32"]), default="BF16", show_default=True)
@click.option("--hidden", type=SIZE, default=4096, show_default=True)
@click.option("--intermediate", type=SIZE, default=14336, show_default=True)
@click.option(
    "--workers", type=click.IntRange(min=1), multiple=True, default=(1, 2, 4), show_default=True
)
@click.option(
    "--memory",
    "memory_mb",
    type=click.IntRange(min=1),
    multiple=True,
    default=(700, 1000, 2000),
    show_default=True,
    help="Limits in 10^6 bytes.",
)
@click.option("--record", "target", type=NEW_FILE, help="Write the figures to this new JSON file.")
def main(
    gigabytes: float,
    dtype: str,
    hidden: int,
    intermediate: int,
    workers: tuple[int, ...],
    memory_mb: tuple[int, ...],
    target: Path | None,
) -> None:
    """Scan a generated checkpoint with several workers and limits; exit 1 if one is not kept."""
    if target and target.exists():
        raise click.UsageError(f"{target} exists")
    facts = machine()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        model = str(scratch / "model")
        sizes = {"--gigabytes": gigabytes, "--hidden": hidden, "--intermediate": intermediate}
        options = [word for option, size in sizes.items() for word in (option, str(size))]
        command = [sys.executable, BUILDER, model, "--dtype", dtype, *options]
        num_bytes = int(run_child(command)[1])
        parts = memory_bound(model)
        click.echo(
            f"{num_bytes / 1e9:.2f} GB in {dtype}; bound = imports {parts['imports_mb']:,.0f} MB "
            f"+ workers x 3 x largest matrix {parts['matrix_mb']:,.1f} MB + 100 MB"
        )
        findings = run_cases(model, make_cases(model, workers, memory_mb, scratch))
    if target:
        record = {
            "benchmark": "scan-memory",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": facts,
            "checkpoint": {
                "gigabytes": num_bytes / 1e9,
                "dtype": dtype,
                "hidden": hidden,
                "intermediate": intermediate,
            },
            "imports_mb": parts["imports_mb"],
            "matrix_mb": parts["matrix_mb"],
            "cases": [as_table(finding) for finding in findings],
        }
        target.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if any(finding.broken for finding in findings):
        raise click.ClickException("a bound was broken")


if __name__ == "__main__":
    main()
