"""How deep a plan reaches: the backward pass stops at its lowest trained block."""

from collections.abc import Mapping, Sequence

from spectrum_ft.checkpoints.naming import Place, place_tensors


def lowest_trained_layer(places: Mapping[str, Place], train: Sequence[str]) -> int | None:
    """The lowest block in which a tensor of `train` lies, where the backward pass can stop.

    None where that is not one block of one stack: an embedding or another tensor below the blocks
    trains, or a second stack does, such as a vision tower's, whose gradients cross the first.
    `places` are those of the whole model; what an import does not name is placed on its own.
    """
    unnamed = place_tensors([name for name in train if name not in places])
    trained = {name: places.get(name) or unnamed[name] for name in train}
    if any(place.role in ("embedding", "other") for place in trained.values()):
        return None
    stacks = {
        name.split(f".{place.layer}.", 1)[0]
        for name, place in trained.items()
        if place.layer is not None
    }
    layers = [place.layer for place in trained.values() if place.layer is not None]
    return min(layers) if len(stacks) == 1 else None
