"""The model that a plan is about, as far as it is at hand: a plan itself holds names only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.checkpoints.naming import Place, place_tensors
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.scans import ScanReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The model that a plan is about, as far as it is at hand."""

    shapes: Mapping[str, tuple[int, ...]]
    """The extents of every tensor by name; empty where unknown (imports)."""
    places: Mapping[str, Place]
    """Where each of them sits."""
    found: str | None
    """What it was read from, as the user would name it; None where only the plan is at hand."""
    report: ScanReport | None = None
    """Its scan, if that is what it was read from."""
    lacking: str = ""
    """What could not be found and which option mends it; empty where all is there."""

    @property
    def sized(self) -> bool:
        """Whether shapes are known, and so numbers of weights and the memory."""
        return any(self.shapes.values())

    @property
    def layers(self) -> int:
        """The number of blocks; of several stacks, that of the longest."""
        return len({place.layer for place in self.places.values()} - {None})


def of_scan(report: ScanReport, found: str, also: Sequence[str] = ()) -> Subject:
    """The model of `report`, read from `found`; `also` are names that an import leaves out."""
    shapes = report.shapes | {name: () for name in also if name not in report.shapes}
    places = place_tensors(list(shapes))
    return Subject(shapes=shapes, places=places, found=found, report=report)


def of_plan(plan: Plan, lacking: str) -> Subject:
    """What the names of `plan` alone tell of its model."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(plan.reached, ())
    return Subject(shapes=shapes, places=place_tensors(list(shapes)), found=None, lacking=lacking)
