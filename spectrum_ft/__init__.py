"""Full-fine-tuning quality without full-fine-tuning memory.

    import spectrum_ft

    report = spectrum_ft.scan("./model")                        # scores, from the files alone
    planned = spectrum_ft.make_plan(report, spectrum_ft.PlanRequest(share=0.25))
    settings = spectrum_ft.TrainSettings(data="train.jsonl")
    spectrum_ft.train("./model", planned.plan, settings, Path("run"))
    spectrum_ft.merge(Path("run"), Path("merged"))

    spectrum_ft.compare("./model", ["base", "spectrum-25", "qlora"], compared, Path("comparison"))

and in a training loop of one's own: `spectrum_ft.apply_plan(model, planned.plan)`.

Importing this package loads nothing heavy; each name is resolved when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spectrum_ft.checkpoints.checkpoint import Checkpoint as Checkpoint
    from spectrum_ft.checkpoints.checkpoint import open_checkpoint as open_checkpoint
    from spectrum_ft.comparing.comparing import compare as compare
    from spectrum_ft.diffing.diffing import diff as diff
    from spectrum_ft.errors import CheckpointError as CheckpointError
    from spectrum_ft.errors import DataError as DataError
    from spectrum_ft.errors import OutputError as OutputError
    from spectrum_ft.errors import PlanError as PlanError
    from spectrum_ft.errors import RecordError as RecordError
    from spectrum_ft.errors import SpectrumError as SpectrumError
    from spectrum_ft.errors import TrainError as TrainError
    from spectrum_ft.evaluating.measuring import evaluate as evaluate
    from spectrum_ft.memory import TrainingShape as TrainingShape
    from spectrum_ft.memory import forecast as forecast
    from spectrum_ft.planning.making import Planned as Planned
    from spectrum_ft.planning.making import PlanRequest as PlanRequest
    from spectrum_ft.planning.making import make_plan as make_plan
    from spectrum_ft.records.comparisons import CompareError as CompareError
    from spectrum_ft.records.comparisons import CompareSettings as CompareSettings
    from spectrum_ft.records.comparisons import Comparison as Comparison
    from spectrum_ft.records.diffs import DiffError as DiffError
    from spectrum_ft.records.diffs import ScanDiff as ScanDiff
    from spectrum_ft.records.evaluations import EvalSettings as EvalSettings
    from spectrum_ft.records.evaluations import Evaluation as Evaluation
    from spectrum_ft.records.plans import Plan as Plan
    from spectrum_ft.records.scans import ScannedMatrix as ScannedMatrix
    from spectrum_ft.records.scans import ScanReport as ScanReport
    from spectrum_ft.records.scans import SkippedTensor as SkippedTensor
    from spectrum_ft.records.training import TrainRun as TrainRun
    from spectrum_ft.records.training import TrainSettings as TrainSettings
    from spectrum_ft.scanning.compute import Compute as Compute
    from spectrum_ft.scanning.compute import open_engine as open_engine
    from spectrum_ft.scanning.jobs import prepare_scan as prepare_scan
    from spectrum_ft.scanning.scans import iter_scan as iter_scan
    from spectrum_ft.scanning.scans import scan as scan
    from spectrum_ft.spectra.store import SpectraStore as SpectraStore
    from spectrum_ft.tuning.applying import Applied as Applied
    from spectrum_ft.tuning.applying import apply_plan as apply_plan
    from spectrum_ft.tuning.merges.merging import merge as merge
    from spectrum_ft.tuning.training import prepare_training as prepare_training
    from spectrum_ft.tuning.training import train as train

__version__ = "0.1.0"

_HOMES = {
    "Applied": "tuning.applying",
    "CompareError": "records.comparisons",
    "CompareSettings": "records.comparisons",
    "Comparison": "records.comparisons",
    "EvalSettings": "records.evaluations",
    "Evaluation": "records.evaluations",
    "compare": "comparing.comparing",
    "evaluate": "evaluating.measuring",
    "DataError": "errors",
    "TrainError": "errors",
    "TrainRun": "records.training",
    "TrainSettings": "records.training",
    "TrainingShape": "memory",
    "apply_plan": "tuning.applying",
    "forecast": "memory",
    "merge": "tuning.merges.merging",
    "prepare_training": "tuning.training",
    "train": "tuning.training",
    "Checkpoint": "checkpoints.checkpoint",
    "CheckpointError": "errors",
    "Compute": "scanning.compute",
    "DiffError": "records.diffs",
    "ScanDiff": "records.diffs",
    "diff": "diffing.diffing",
    "ComputeError": "errors",
    "OutputError": "errors",
    "open_engine": "scanning.compute",
    "Plan": "records.plans",
    "PlanError": "errors",
    "PlanRequest": "planning.making",
    "Planned": "planning.making",
    "RecordError": "errors",
    "ScanReport": "records.scans",
    "ScannedMatrix": "records.scans",
    "SkippedTensor": "records.scans",
    "SpectraStore": "spectra.store",
    "SpectrumError": "errors",
    "iter_scan": "scanning.scans",
    "make_plan": "planning.making",
    "open_checkpoint": "checkpoints.checkpoint",
    "prepare_scan": "scanning.jobs",
    "scan": "scanning.scans",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """The public name, from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
