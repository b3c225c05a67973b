"""Whole spectra that earlier scans kept: what a summary in a report cannot tell comes from them."""

from spectrum_ft.diffing.matrices import SpectrumOf
from spectrum_ft.spectra.solvers import METHODS, Values
from spectrum_ft.spectra.store import SpectraStore


def spectra_in(store: SpectraStore) -> SpectrumOf:
    """What finds the most accurate spectrum that `store` keeps of a content."""

    backends = sorted({backend for _, _, backend in store.keys})

    def spectrum_of(digest: str) -> Values | None:
        kept = (store.get(digest, m, backend) for m in reversed(METHODS) for backend in backends)
        return next((values for values in kept if values is not None), None)

    return spectrum_of
