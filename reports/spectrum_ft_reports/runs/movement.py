"""How much of each kind of matrix moved in a run, and where in the model."""

from dataclasses import dataclass
from statistics import fmean

from spectrum_ft.checkpoints.naming import Place, place_tensors
from spectrum_ft.records.training import TrainRun


@dataclass(frozen=True, slots=True, kw_only=True)
class KindMovement:
    """The tensors of one kind that trained in full."""

    kind: str
    """The kind."""
    tensors: int
    """How many of them there are."""
    mean: float
    """The share of their weights that moved, on average over them."""
    lowest: float
    """The smallest share."""
    highest: float
    """The largest share."""
    by_layer: dict[int, float]
    """The mean share in each block; empty for what is in none."""


def movement(run: TrainRun) -> tuple[KindMovement, ...]:
    """What moved, a kind at a time by name; empty where that is not known."""
    # Kinds depend on all names at hand: those of frozen matrices help to tell blocks from others.
    adapted = run.plan.lora.matrices if run.plan.lora else ()
    places = place_tensors(dict.fromkeys((*run.moved_tensors, *adapted, *run.quantized)))
    shares: dict[str, list[tuple[int | None, float]]] = {}
    for name, share in run.moved_tensors.items():
        place = places[name]
        shares.setdefault(_kind(place), []).append((place.layer, min(max(share, 0.0), 1.0)))
    return tuple(_of_kind(kind, found) for kind, found in sorted(shares.items()))


def _kind(place: Place) -> str:
    return f"{place.kind} bias" if place.role == "bias" else place.kind


def _of_kind(kind: str, found: list[tuple[int | None, float]]) -> KindMovement:
    layers: dict[int, list[float]] = {}
    for layer, share in found:
        if layer is not None:
            layers.setdefault(layer, []).append(share)
    shares = [share for _, share in found]
    return KindMovement(
        kind=kind,
        tensors=len(shares),
        mean=fmean(shares),
        lowest=min(shares),
        highest=max(shares),
        by_layer={layer: fmean(layers[layer]) for layer in sorted(layers)},
    )
