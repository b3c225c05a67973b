"""Measure whether estimated spectra (stochastic Lanczos quadrature) could replace exact ones.

Letters: W is q x p, q >= p, with p singular values S. From a random unit vector, k Lanczos steps on
W^T W give k nodes and weights that stand for the distribution of S^2; what several such probes say
is averaged (Ubaru, Chen and Saad 2017, algorithm 1).
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
from spectrum_ft.planning.making import make_plan
from spectrum_ft.planning.policies import KindChoice
from spectrum_ft.planning.requests import PlanRequest
from spectrum_ft.records import ScanReport
from spectrum_ft.scanning.jobs import prepare_scan
from spectrum_ft.scanning.scans import scan
from spectrum_ft.spectra.edges import noise_edge, published_edge
from spectrum_ft.spectra.resolving import is_resolved
from spectrum_ft.spectra.scores import SCORES, Shape
from spectrum_ft.spectra.solvers import METHODS, Matrix, Values, singular_values

NEW_FILE = click.Path(dir_okay=False, path_type=Path)
SETTINGS = ((4, 20), (16, 60), (32, 100))
"""Probes and steps."""
NAMES = ("snr", "snr_mp")
LARGE: tuple[Shape, ...] = ((4096, 4096), (4096, 14336))
DIRECTIONS = 32
"""How many directions stand out of the noise of a random matrix."""
AGREED = 1e-3
"""How far the probes may differ, relatively, on a value that all of them have found."""

Rule = tuple[Values, Values]
"""Singular values, descending, and their weights; both (probes, steps)."""


def krylov(matrix: Matrix, probes: int, steps: int, seed: int) -> Rule:
    """The quadrature rule of each probe."""
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
        left = image.astype(np.float64)
        beside[:, j] = np.linalg.norm(left, axis=1)
        step = left / np.maximum(beside[:, j : j + 1], np.finfo(np.float64).tiny)
    found = [
        eigh_tridiagonal(d, e[:-1], lapack_driver="stemr")
        for d, e in zip(diagonal, beside, strict=True)
    ]
    nodes = np.array([np.sqrt(np.maximum(squares[::-1], 0.0)) for squares, _ in found])
    return nodes, np.array([vectors[0, ::-1] ** 2 for _, vectors in found])


def estimate(rule: Rule, shape: Shape, energy: float | None) -> dict[str, float]:
    """Both scores; with the squared Frobenius norm, `energy`, also by what is known for sure.

    That is: a value that all probes have found counts once, whatever its weights, and the weights
    of the rest are tilted until their second moment is what the norm leaves for it.
    """
    p, (nodes, weights) = min(shape), rule
    top = float(nodes.max())
    sure = np.empty(0)
    if energy is not None:
        agreed = np.logical_and.accumulate(np.ptp(nodes, axis=0) <= AGREED * nodes.max(axis=0))
        count = min(int(agreed.sum()), nodes.shape[1] // 2, p // 8)
        sure = nodes[:, :count].max(axis=0)
        nodes, weights = nodes[:, count:], weights[:, count:]
        weights = weights / weights.sum(axis=1, keepdims=True)
    order = np.argsort(nodes, axis=None)
    values, rest = nodes.ravel()[order], p - len(sure)
    mass = weights.ravel()[order] * rest / len(nodes)  # sums to the number of values left
    if energy is not None:
        squares = values**2
        mean = mass @ squares / rest
        spread = mass @ (squares - mean) ** 2
        lacking = energy - float(sure @ sure) - rest * mean
        mass = np.maximum(mass * (1.0 + lacking / spread * (squares - mean)), 0.0)
    below = np.cumsum(mass) - mass / 2.0
    q25, median, q75 = np.interp(np.array((0.25, 0.5, 0.75)) * p, below, values)

    def ratio(edge: float, power: int) -> float:
        terms = mass * values**power
        noise = np.interp(edge, values, np.cumsum(terms) - terms / 2.0, 0.0, terms.sum())
        noise += (sure[sure <= edge] ** power).sum()
        return float((terms.sum() + (sure**power).sum() - noise) / noise)

    return {
        "snr": ratio(published_edge(q25, q75, shape), 1) / top,
        "snr_mp": ratio(noise_edge(float(median), shape), 2),
    }


def intervals(rule: Rule, shape: Shape, energy: float | None, levels: Any) -> dict[str, Values]:
    """Per score, an interval at each level by the jackknife over probes, in logarithms. (n, 2)"""
    nodes, weights = rule
    n = len(nodes)
    whole = estimate(rule, shape, energy)
    parts = [
        estimate((np.delete(nodes, i, 0), np.delete(weights, i, 0)), shape, energy)
        for i in range(n)
    ]
    found = {}
    for name in NAMES:
        logs = np.log([max(part[name], 1e-300) for part in parts])
        error = np.sqrt((n - 1) * np.var(logs))
        reach = student.ppf((1.0 + np.asarray(levels)) / 2.0, n - 1) * error
        centre = np.log(max(whole[name], 1e-300))
        found[name] = np.exp(np.stack([centre - reach, centre + reach], axis=1))
    return found


def exact(matrix: Matrix) -> Values:
    """The singular values as a scan finds them: by the first method that is accurate enough."""
    shape = (matrix.shape[0], matrix.shape[1])
    for method in METHODS:
        values = singular_values(matrix.copy, method)
        if is_resolved(values, shape, method):
            break
    return values


def measure(matrix: Matrix, seed: int, count: int, rounds: int) -> dict[str, Any]:
    """Exact and estimated scores of one of `count` matrices, and the processor time of each."""
    shape = (matrix.shape[0], matrix.shape[1])
    norm = float(np.sum(matrix.astype(np.float64) ** 2))
    levels = (0.95, 1.0 - 0.05 / count)
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        values = exact(matrix)
        seconds.append(time.process_time() - started)
    found: dict[str, Any] = {
        "seconds": min(seconds),
        "scores": {name: SCORES[name].of(values, shape) for name in NAMES},
    }
    for probes, steps in SETTINGS:
        seconds = []
        for _ in range(rounds):
            started = time.process_time()
            rule = krylov(matrix, probes, steps, seed)
            estimate(rule, shape, norm)
            seconds.append(time.process_time() - started)
        found[f"{probes} x {steps}"] = {"seconds": min(seconds)} | {
            variant: {
                "scores": estimate(rule, shape, energy),
                "intervals": intervals(rule, shape, energy, levels),
            }
            for variant, energy in (("plain", None), ("corrected", norm))
        }
    return found


def choose(report: ScanReport, name: str, scores: Mapping[str, float]) -> tuple[KindChoice, ...]:
    """The choice of a quarter with these scores in place of the report's."""
    matrices = tuple(
        replace(matrix, scores={**matrix.scores, name: scores[matrix.name]})
        for matrix in report.matrices
    )
    return make_plan(replace(report, matrices=matrices), PlanRequest(score=name)).choices


def names_of(choices: tuple[KindChoice, ...]) -> set[str]:
    """The tensors chosen."""
    return {name for choice in choices for unit in choice.chosen for name in unit.names}


def undecided(choices: tuple[KindChoice, ...], limits: Mapping[str, Values]) -> set[str]:
    """The matrices whose intervals do not say whether they are chosen; `limits` by name. (2,)"""
    left = set()
    for choice in choices:
        names = [name for unit in choice.order for name in unit.names]
        lows, highs = np.array([limits[name] for name in names]).T
        for name in names:
            low, high = limits[name]
            may_be_ahead, is_ahead = int((highs >= low).sum()) - 1, int((lows > high).sum())
            if may_be_ahead >= choice.taken and is_ahead < choice.taken:
                left.add(name)
    return left


def judge(report: ScanReport, found: Mapping[str, Any], setting: str) -> list[dict[str, Any]]:
    """What the estimates of one setting are worth, per score and variant."""
    rows = []
    exact_seconds = sum(one["seconds"] for one in found.values())
    own_seconds = sum(one[setting]["seconds"] for one in found.values())
    for name, variant in ((name, variant) for name in NAMES for variant in ("plain", "corrected")):
        sure = {key: one["scores"][name] for key, one in found.items()}
        said = {key: one[setting][variant]["scores"][name] for key, one in found.items()}
        limits = {key: one[setting][variant]["intervals"][name] for key, one in found.items()}
        errors = [abs(said[key] - sure[key]) / sure[key] for key in found]
        wanted, choices = names_of(choose(report, name, sure)), choose(report, name, said)
        row = {
            "setting": setting,
            "score": name,
            "variant": variant,
            "seconds_over_exact": own_seconds / exact_seconds,
            "median_error": float(np.median(errors)),
            "p90_error": float(np.quantile(errors, 0.9)),
            "agreement": len(names_of(choices) & wanted) / len(wanted),
        }
        for level, text in enumerate(("each_95", "all_95")):
            open_ones = undecided(choices, {key: limits[key][level] for key in found})
            settled = said | {key: sure[key] for key in open_ones}
            extra = sum(found[key]["seconds"] for key in open_ones)
            row[text] = {
                "coverage": float(
                    np.mean([b[level][0] <= sure[k] <= b[level][1] for k, b in limits.items()])
                ),
                "undecided": len(open_ones) / len(found),
                "missed_after_settling": len(wanted - names_of(choose(report, name, settled))),
                "seconds_over_exact": (own_seconds + extra) / exact_seconds,
            }
        rows.append(row)
    return rows


def random_matrix(shape: Shape) -> Matrix:
    """Noise with `DIRECTIONS` directions from 1 to 3 times above its largest value."""
    rng, (m, n) = np.random.default_rng(0), shape
    left, right = (rng.standard_normal((x, DIRECTIONS), np.float32) / x**0.5 for x in shape)
    spikes = np.linspace(3.0, 1.0, DIRECTIONS, dtype=np.float32) * (m**0.5 + n**0.5)
    return np.asarray(rng.standard_normal(shape, np.float32) + (left * spikes) @ right.T)


def show(rows: list[dict[str, Any]], large: Mapping[str, Any]) -> None:
    """Print the figures for people."""
    for row in rows:
        both = "  ".join(
            f"{text}: covers {row[text]['coverage']:.2f}, undecided {row[text]['undecided']:.2f}, "
            f"missed {row[text]['missed_after_settling']}, "
            f"time x{row[text]['seconds_over_exact']:.2f}"
            for text in ("each_95", "all_95")
        )
        click.echo(
            f"{row['setting']:>8} {row['score']:7}{row['variant']:10}"
            f"time x{row['seconds_over_exact']:.2f}  error {row['median_error']:.3f} "
            f"(90 %: {row['p90_error']:.3f})  agree {row['agreement']:.2f}  {both}"
        )
    for shape, settings in large.items():
        click.echo(f"{shape}: {json.dumps(settings)}")


@click.command()
@click.option("--model", default="packaged:smollm2-135m", show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--large/--no-large", "with_large", default=True, help="Random matrices as well.")
@click.option("--record", "target", type=NEW_FILE, help="Write the figures to this new JSON file.")
def main(model: str, rounds: int, with_large: bool, target: Path | None) -> None:
    """Measure whether estimated spectra could replace exact ones."""
    if target and target.exists():
        raise click.UsageError(f"{target} exists")
    facts, report = machine(), scan(model)
    job = prepare_scan(open_checkpoint(model))
    found, large = {}, {}
    with threadpool_limits(1, user_api="blas"):
        for seed, entry in enumerate(target.entry for target in job.targets):
            matrix = decode(read_bytes(entry), entry)
            found[entry.name] = measure(matrix, seed, len(job.targets), rounds)
        for shape in LARGE if with_large else ():
            one = measure(random_matrix(shape), 0, 1, rounds)
            large[f"{shape[0]} x {shape[1]}"] = {
                "exact_seconds": one["seconds"],
                **{s: summary(one, s) for s in (f"{b} x {k}" for b, k in SETTINGS)},
            }
    rows = [row for b, k in SETTINGS for row in judge(report, found, f"{b} x {k}")]
    show(rows, large)
    record = {
        "benchmark": "lanczos",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": facts,
        "model": model,
        "matrices": len(found),
        "exact_seconds": sum(one["seconds"] for one in found.values()),
        "settings": rows,
        "large": large,
    }
    if target:
        target.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def summary(one: dict[str, Any], setting: str) -> dict[str, Any]:
    """Time and errors of a setting on a single matrix."""
    return {"seconds_over_exact": one[setting]["seconds"] / one["seconds"]} | {
        f"{name}_{variant}_error": abs(one[setting][variant]["scores"][name] / sure - 1.0)
        for name, sure in one["scores"].items()
        for variant in ("plain", "corrected")
    }


if __name__ == "__main__":
    main()
