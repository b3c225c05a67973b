"""Diffs made of scans that were made by hand: a tuned model, an import, a hostile author."""

from dataclasses import replace

from scans import matrix, one_kind, scan_of
from spectrum_ft.diffing.diffing import diff
from spectrum_ft.planning.published import parse_published
from spectrum_ft.records.diffs import ScanDiff
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.scans import (
    ModelInfo,
    ScannedMatrix,
    ScanReport,
    SkippedTensor,
    SpectrumSummary,
)

HOSTILE = "</script>\x1b[2J\u202e[red]$x$ <b>&amp;|`x`"
ENVIRONMENT = Environment(
    spectrum_ft="0.1.0",
    python="3.11.7",
    numpy="2.4.0",
    scipy="1.17.0",
    platform="Linux x86_64",
    device="cpu",
)


def spectrum(scale: float) -> SpectrumSummary:
    return SpectrumSummary(
        max=scale,
        min=scale / 100,
        q25=0.2,
        median=0.3,
        q75=0.5,
        sum=20.0,
        count=64,
        error=1e-6,
        histogram=(64,),
    )


def finished(matrices: list[ScannedMatrix], source: str, **changed: object) -> ScanReport:
    """A scan of these matrices, whose content and spectrum follow from their scores."""
    report = scan_of(
        [
            replace(
                m, digest=f"{m.name} {m.scores} {m.dtype}", spectrum=spectrum(1 + sum(_known(m)))
            )
            for m in matrices
        ]
    )
    model = ModelInfo(
        source=source, revision=None, fingerprint="f" * 64, parameters=134_500_000, layers=8
    )
    return replace(report, model=model, environment=ENVIRONMENT, **changed)  # type: ignore[arg-type]  # its fields


def _known(scored: ScannedMatrix) -> list[float]:
    return [value for value in scored.scores.values() if value is not None]


def a_diff(*, distances: bool = True) -> ScanDiff:
    """A base model and what was tuned of it: four kinds, some of whose matrices changed."""
    ups = [0.11, 0.24, 0.18, 0.35, 0.41, 0.29, 0.52, 0.47]
    tuned = [0.11, 0.24, 0.27, 0.35, 0.41, 0.60, 0.46, None]
    queries = [1.0 + 0.125 * layer for layer in range(8)]
    before = [
        *one_kind(ups),
        *one_kind(queries, "self_attn.q_proj"),
        *one_kind([0.5] * 8, "mlp.down_proj"),
        *one_kind([3.0, 4.0], "self_attn.indexer.wq"),
    ]
    after = [
        *one_kind(tuned),
        *one_kind([*queries[:7], 1.87501], "self_attn.q_proj"),
        *one_kind([0.5] * 7, "mlp.down_proj"),
        *one_kind([3.0, 4.0], "self_attn.indexer.wq"),
        matrix("model.layers.0.mlp.router.weight", 0.5, shape=(8, 64), flags=["thin"]),
    ]
    after[7] = replace(after[7], flags=("saturated",))
    after[2] = replace(after[2], dtype="bfloat16")
    nan = SkippedTensor(
        name="model.layers.7.mlp.down_proj.weight",
        shape=(64, 64),
        reason="holds NaN or infinite weights",
    )
    found = diff(
        finished(before, "HuggingFaceTB/SmolLM2-135M"),
        finished(
            after,
            "~/runs/merged",
            skipped=(nan,),
        ),
        given=("base.json", "~/runs/merged"),
    )
    far = [0.0312, 0.00041, 0.25, None, 0.0012, 0.0]
    moved = tuple(
        replace(m, distance=value if distances else None)
        for m, value in zip(found.matrices, far, strict=False)
    )
    return replace(
        found, matrices=moved, environment=ENVIRONMENT, command="spectrum diff base.json merged"
    )


def same_diff() -> ScanDiff:
    """A scan against itself."""
    report = finished(one_kind([0.1, 0.2, 0.3, 0.4]), "~/model")
    return replace(diff(report, report), environment=ENVIRONMENT, command="")


def imported_diff() -> ScanDiff:
    """A published result against a scan made elsewhere."""
    table = ", ".join(
        f'"model.layers.{i}.mlp.up_proj": {{"snr": {value}, "type": "mlp.up_proj"}}'
        for i, value in enumerate((0.1, 0.2, 0.5, "Infinity"))
    )
    imported = parse_published(f"{{{table}}}".encode(), "~/snr.json")
    found = diff(imported, finished(one_kind([0.1, 0.2, 0.3, 0.4]), "~/model"))
    return replace(found, environment=ENVIRONMENT, command="spectrum diff snr.json model")


def hostile_diff() -> ScanDiff:
    """A diff in which a stranger named everything."""
    names = [f"model.layers.{i}.mlp.{HOSTILE}.weight" for i in range(4)]
    reports = [
        finished([matrix(name, salt + i) for i, name in enumerate(names)], HOSTILE)
        for salt in (0.0, 1.0)
    ]
    odd = replace(ENVIRONMENT, device=HOSTILE)
    model = replace(reports[1].model, source="日本語の名前" * 30, revision=HOSTILE)
    skipped = (SkippedTensor(name="a.weight", shape=(), reason=HOSTILE),)
    other = replace(reports[1], environment=odd, model=model, skipped=skipped)
    extra = replace(other.matrices[0], name="a.weight", kind="a", layer=None)
    first = replace(reports[0], matrices=(*reports[0].matrices, extra))
    found = diff(first, other, given=(HOSTILE, HOSTILE))
    return replace(found, command=f"spectrum diff '{HOSTILE}'", asked_kinds=(HOSTILE,))
