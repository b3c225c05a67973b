"""A scan as it runs: a bar on a terminal, one line at start and end elsewhere."""

from collections.abc import Iterator, Sequence

from spectrum_ft.records.scans import ScannedMatrix, SkippedTensor
from spectrum_ft.scanning.compute import memory_for
from spectrum_ft.scanning.jobs import ScanJob
from spectrum_ft.scanning.scans import Scanned
from spectrum_ft_cli.talk import Talk

Results = Sequence[ScannedMatrix | SkippedTensor]


def follow(scanned: Iterator[Scanned], job: ScanJob, talk: Talk) -> Results:
    """The results of a scan, shown as they come."""
    total = len(job.targets)
    talk.kept = "The matrices scored so far are kept; the same command goes on from there."
    if talk.console.is_terminal and not talk.quiet:
        finished = _with_bar(scanned, job, talk)
    else:
        talk.say(f"Scanning {job.checkpoint.source}: {total} matrices.")
        finished = list(scanned)
    reused = sum(item.reused for item in finished)
    earlier = f" {reused} of them were known from earlier scans." if reused else ""
    talk.say(f"Scanned {len(finished)} matrices.{earlier}")
    lacking = [item.lacking_bytes for item in finished if item.lacking_bytes]
    if lacking:
        enough = memory_for(max(lacking))
        talk.say(
            f"{len(lacking)} of them lacked memory and were left out; --memory {enough} is enough."
        )
    return [item.result for item in finished]


def _with_bar(scanned: Iterator[Scanned], job: ScanJob, talk: Talk) -> list[Scanned]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    # Remaining time is told by work, since large matrices come first; the rate by matrices.
    total = sum(_work(target.entry.shape) for target in job.targets)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[done]}/{task.fields[of]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    finished: list[Scanned] = []
    with Progress(*columns, console=talk.console, transient=True, expand=True) as progress:
        task = progress.add_task("Scanning", total=total, done=0, of=len(job.targets), rate="")
        for item in scanned:
            finished.append(item)
            elapsed = progress.tasks[0].elapsed or 0.0
            rate = f"{len(finished) / elapsed:.1f}/s" if elapsed else ""
            progress.update(
                task, advance=_work(item.target.entry.shape), done=len(finished), rate=rate
            )
    return finished


def _work(shape: Sequence[int]) -> float:
    """Operations that a spectrum takes, to a constant: p^2 q for Gram, p^3 for its eigenvalues."""
    p, q = sorted(shape[:2])
    return float(p) * p * (q + p)
