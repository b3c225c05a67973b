"""Measure whether estimated spectra (stochastic Lanczos quadrature) could replace exact ones.

From a random unit vector, k Lanczos steps on W^T W give k nodes and weights that stand for the
distribution of the p squared singular values of W, q x p; what several such probes say is averaged
(Ubaru, Chen and Saad 2017, algorithm 1).
"""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from processes import machine
from scipy.linalg import eigh_tridiagonal
from scipy.stats import t as student
from threadpoolctl import threadpool_limits

from spectrum_ft.checkpoints.checkpoint import open_checkpoint, read_bytes
from spectrum_ft.checkpoints.dequantizing import decode
from spectrum_ft.planning.making import Planned, make_plan
from spectrum_ft.planning.requests import PlanRequest
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.scanning.jobs import prepare_scan
from spectrum_ft.scanning.scans import scan
from spectrum_ft.spectra.edges import noise_edge, published_edge
from spectrum_ft.spectra.resolving import is_resolved
from spectrum_ft.spectra.scores import SCORES, Shape
from spectrum_ft.spectra.solvers import METHODS, Matrix, Values, singular_values

MODEL = "packaged:smollm2-135m"
SETTINGS = {
    f"{probes} x {steps}": (probes, steps) for probes, steps in ((4, 20), (16, 60), (32, 100))
}
"""Probes and steps, by what a record calls them."""
SCORED = ("snr", "snr_mp")
RESAMPLES = 200
"""How often the probes are drawn anew, for the intervals."""
LARGE = ((4096, 4096), (4096, 14336))
DIRECTIONS = 32
"""How many directions stand out of the noise of a random matrix."""

Rule = tuple[Values, Values]
"""The nodes of each probe, as singular values, and their weights; both (probes, steps)."""


def krylov(matrix: Matrix, probes: int, steps: int, seed: int) -> Rule:
    """The rules of `probes` random vectors; float32 products, float64 recurrences."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T  # (q, p)
    p = tall.shape[1]
    steps = min(steps, p)
    basis = np.zeros((probes, steps, p), np.float32)
    diagonal, beside = np.zeros((probes, steps)), np.zeros((probes, steps))
    step = np.random.default_rng(seed).standard_normal((probes, p))
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    for j in range(steps):
        basis[:, j] = step
        image = basis[:, j] @ tall.T @ tall  # (probes, p)
        diagonal[:, j] = np.sum(image.astype(np.float64) * step, axis=1)
        before = basis[:, : j + 1]
        for _ in range(2):  # after one subtraction rounding errors would still grow
            along = before @ image[:, :, None]  # (probes, j + 1, 1)
            image -= (along.transpose(0, 2, 1) @ before)[:, 0]
        beside[:, j] = np.linalg.norm(image.astype(np.float64), axis=1)
        step = image / np.maximum(beside[:, j : j + 1], np.finfo(np.float64).tiny)
    found = [eigh_tridiagonal(*pair) for pair in zip(diagonal, beside[:, :-1], strict=True)]
    nodes = np.sqrt(np.maximum([squares for squares, _ in found], 0.0))
    return nodes, np.array([vectors[0] ** 2 for _, vectors in found])


def estimate(rule: Rule, shape: Shape) -> dict[str, float]:
    """Both scores of a matrix of that shape."""
    order = np.argsort(rule[0], axis=None)
    values, mass = (part.ravel()[order] for part in rule)
    mass /= len(rule[0])
    q25, median, q75 = np.interp((0.25, 0.5, 0.75), np.cumsum(mass) - mass / 2.0, values)

    def ratio(edge: float, power: int) -> float:
        terms = min(shape) * mass * values**power
        total = float(terms.sum())
        noise = float(np.interp(edge, values, np.cumsum(terms) - terms / 2.0, 0.0, total))
        return (total - noise) / (noise or 1.0)  # as the published score has it

    snr = ratio(published_edge(q25, q75, shape), 1) / float(values[-1])
    return {"snr": snr, "snr_mp": ratio(noise_edge(float(median), shape), 2)}


def deviations(rule: Rule, shape: Shape) -> dict[str, float]:
    """The standard error of both scores, by a bootstrap over the probes."""
    # Not the jackknife: quartiles are no smooth function of the probes, and it came out too small.
    nodes, weights = rule
    draws = np.random.default_rng(0).integers(0, len(nodes), (RESAMPLES, len(nodes)))
    drawn = [estimate((nodes[draw], weights[draw]), shape) for draw in draws]
    return {name: float(np.std([one[name] for one in drawn])) for name in SCORED}


def exact(matrix: Matrix, shape: Shape) -> dict[str, float]:
    """Both scores as a scan finds them: by the first method that is accurate enough."""
    for method in METHODS:
        values = singular_values(matrix.copy, method)
        if is_resolved(values, shape, method):
            break
    return {name: SCORES[name].of(values, shape) or 0.0 for name in SCORED}


def measure(matrix: Matrix, seed: int) -> dict[str, Any]:
    """Scores and processor time, exact and by each of `SETTINGS`, with standard errors."""
    shape = (matrix.shape[0], matrix.shape[1])
    started = time.process_time()
    found: dict[str, Any] = {"scores": exact(matrix, shape)}
    found["seconds"] = time.process_time() - started
    for setting, (probes, steps) in SETTINGS.items():
        started = time.process_time()
        rule = krylov(matrix, probes, steps, seed)
        one: dict[str, Any] = {"scores": estimate(rule, shape)}
        one["seconds"] = time.process_time() - started
        found[setting] = one | {"deviations": deviations(rule, shape)}
    return found


def plan(report: ScanReport, name: str, scores: Mapping[str, float]) -> Planned:
    """The plan of a quarter with these scores in place of the report's."""
    matrices = tuple(replace(m, scores={name: scores[m.name]}) for m in report.matrices)
    return make_plan(replace(report, matrices=matrices), PlanRequest(score=name))


def undecided(planned: Planned, limits: Mapping[str, tuple[float, float]]) -> set[str]:
    """The matrices whose intervals leave open whether they are chosen."""
    left = set()
    for choice in planned.choices:
        names = [name for unit in choice.order for name in unit.names]
        lows, highs = np.array([limits[name] for name in names]).T
        for name, low, high in zip(names, lows, highs, strict=True):
            if np.sum(lows > high) < choice.taken < np.sum(highs >= low):
                left.add(name)
    return left


def judge(report: ScanReport, found: Mapping[str, Any], setting: str, name: str) -> dict[str, Any]:
    """What the estimates of one score by one setting are worth."""
    sure = {key: one["scores"][name] for key, one in found.items()}
    said = {key: one[setting]["scores"][name] for key, one in found.items()}
    error = {key: one[setting]["deviations"][name] for key, one in found.items()}
    off = [abs(said[key] / sure[key] - 1.0) for key in found if sure[key]]
    wanted, planned = set(plan(report, name, sure).plan.train), plan(report, name, said)
    all_seconds = sum(one["seconds"] for one in found.values())
    seconds = sum(one[setting]["seconds"] for one in found.values())
    row: dict[str, Any] = {
        "setting": setting,
        "score": name,
        "seconds_over_exact": seconds / all_seconds,
        "median_error": float(np.median(off)),
        "p90_error": float(np.quantile(off, 0.9)),
        "agreement": len(wanted & set(planned.plan.train)) / len(wanted),
    }
    # Each interval at 95 %; and each so wide that with 95 % all of them hold.
    for text, tail in (("each", 0.025), ("all", 0.025 / len(found))):
        reach = float(student.isf(tail, SETTINGS[setting][0] - 1))
        limits = {k: (said[k] - reach * error[k], said[k] + reach * error[k]) for k in found}
        left = undecided(planned, limits)
        settled = plan(report, name, said | {key: sure[key] for key in left}).plan.train
        row[text] = {
            "covered": float(np.mean([limits[k][0] <= sure[k] <= limits[k][1] for k in found])),
            "undecided": len(left) / len(found),
            "missed": len(wanted.difference(settled)),
            "seconds_over_exact": (seconds + sum(found[k]["seconds"] for k in left)) / all_seconds,
        }
    return row


def judge_large(shape: Shape) -> dict[str, Any]:
    """Time and errors on noise with directions that stand out up to 3 times above it."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((extent, DIRECTIONS)) / extent**0.5 for extent in shape)
    spikes = np.linspace(3.0, 1.0, DIRECTIONS) * sum(extent**0.5 for extent in shape)
    matrix = rng.standard_normal(shape, np.float32)
    matrix += ((left * spikes) @ right.T).astype(np.float32)
    found = measure(matrix, 0)
    # The scan's first method alone, which would do for nine matrices in ten of a real model.
    started = time.process_time()
    singular_values(matrix.copy, METHODS[0])
    first = time.process_time() - started
    row: dict[str, Any] = {
        "shape": shape,
        "exact_seconds": found["seconds"],
        "first_method_seconds": first,
    }
    for setting in SETTINGS:
        one = found[setting]
        row[setting] = {
            "seconds_over_exact": one["seconds"] / found["seconds"],
            "seconds_over_first_method": one["seconds"] / first,
        }
        for name, score in found["scores"].items():
            row[setting][f"{name}_error"] = abs(one["scores"][name] / score - 1.0)
    return row


@click.command()
@click.option("--record", "target", type=click.Path(dir_okay=False, path_type=Path))
def main(target: Path | None) -> None:
    """Print, as JSON, what estimated spectra cost and how far they are off; one BLAS thread."""
    if target and target.exists():
        raise click.UsageError(f"{target} exists")
    facts, report, found = machine(), scan(MODEL), {}
    entries = [place.entry for place in prepare_scan(open_checkpoint(MODEL)).targets]
    with threadpool_limits(1, user_api="blas"):
        for seed, entry in enumerate(entries):
            found[entry.name] = measure(decode(read_bytes(entry), entry), seed)
        large = [judge_large(shape) for shape in LARGE]
    record = {
        "benchmark": "lanczos",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": facts,
        "matrices": len(found),
        "exact_seconds": sum(one["seconds"] for one in found.values()),
        "settings": [
            judge(report, found, setting, name) for setting in SETTINGS for name in SCORED
        ],
        "large": large,
    }
    text = json.dumps(record, indent=2, allow_nan=False)
    click.echo(text)
    if target:
        target.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
