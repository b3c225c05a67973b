"""The published Spectrum script's own results and its own rule, reproduced exactly.

Its result files come in two shapes, `{module: {"snr", "type"}}` and `{type: {module: snr}}`, and
name modules rather than tensors; Infinity stands for a matrix whose noise set was empty.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spectrum_ft.checkpoints.naming import place_tensors, reference_kind
from spectrum_ft.errors import RecordError
from spectrum_ft.planning.candidates import Candidate, joint_candidate
from spectrum_ft.planning.policies import KindChoice
from spectrum_ft.records.scans import Flag, ModelInfo, ScannedMatrix, ScanReport

SUFFIX = ".weight"

PUBLISHED_SCORE = "snr"
"""The one score that the script knows."""

ALWAYS_TRAINED = ("lm_head.weight", "model.embed_tokens.weight")
"""The two lines at the top of every file that the script writes, whatever was scanned."""


def parse_published(data: bytes, source: str) -> ScanReport:
    """The scan report in a result file of the published script; shapes and spectra are unknown.

    An infinite SNR becomes null with the flag `saturated`. Raises `RecordError` for anything that
    does not have one of the two shapes, a matrix that appears twice, or an SNR that is no number.
    """
    try:
        # Python's own JSON reader, because these files spell Infinity and NaN.
        table = json.loads(data.decode("utf-8-sig"), object_pairs_hook=list)
    except (ValueError, RecursionError) as fault:  # also for whole numbers without end
        what = f"neither a record nor a result file of scores ({type(fault).__name__})"
        raise _refusal(source, what) from None
    found: dict[str, float] = {}
    for module, value in _modules(table, source):
        if module in found:
            raise _refusal(source, f"{ascii(module)[:100]} appears twice")
        if not isinstance(value, int | float) or isinstance(value, bool) or not _is_number(value):
            raise _refusal(source, f"the snr of {ascii(module)[:100]} is not a number")
        if value == -math.inf or module != module.encode("utf-8", "replace").decode():
            raise _refusal(source, f"{ascii(module)[:100]} is no name or has no snr")
        found[module] = float(value)
    if not found:
        raise _refusal(source, "no results in it")
    return _report(found, source)


def _is_number(value: float) -> bool:
    try:
        return not math.isnan(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _refusal(source: str, what: str) -> RecordError:
    return RecordError(
        f"{source}: {what}",
        "expected {matrix: {snr, type}} or {type: {matrix: snr}} as the published script writes it",
    )


def _modules(table: Any, source: str) -> Iterator[tuple[str, Any]]:
    """(module, snr) pairs in the order of the file; objects were parsed to lists of pairs."""
    if not isinstance(table, list):
        raise _refusal(source, "not a JSON object")
    for outer, members in table:
        if not isinstance(members, list) or not all(isinstance(m, tuple) for m in members):
            raise _refusal(source, f"{ascii(outer)[:100]} holds no results")
        inner = dict(members)
        if set(inner) == {"snr", "type"}:
            yield outer, inner["snr"]
        else:
            yield from members


def _report(found: Mapping[str, float], source: str) -> ScanReport:
    places = place_tensors([module + SUFFIX for module in found])
    matrices = []
    for snr, (name, place) in zip(found.values(), places.items(), strict=True):
        flags: list[Flag] = ["saturated"] if math.isinf(snr) else []
        if place.role == "norm":
            flags.append("vector")
        matrices.append(
            ScannedMatrix(
                name=name,
                kind=place.kind,
                layer=place.layer,
                expert=place.expert,
                shape=(),
                dtype=None,
                scores={"snr": None if math.isinf(snr) else snr},
                spectrum=None,
                edge=None,
                signal_rank=None,
                digest=None,
                flags=tuple(flags),
            )
        )
    layers = len({place.layer for place in places.values()} - {None})
    model = ModelInfo(
        source=source, revision=None, fingerprint=None, parameters=None, layers=layers
    )
    return ScanReport(
        model=model,
        score="snr",
        matrices=tuple(matrices),
        skipped=(),
        environment=None,
        seconds=0.0,
        command="",
    )


def reference_choices(matrices: Sequence[ScannedMatrix], share: float) -> list[KindChoice]:
    """What the published script takes of each of its own kinds, best first.

    Kinds are what follows the first number of a module's name; of each, the first
    int(n x percent / 100) by `snr`, so that small kinds lose everything. Nothing is left out:
    thin matrices, vectors, heads and single experts are ranked like the rest. Experts stacked in
    one tensor, which the script cannot score, count as one matrix, by their mean.
    """
    tensors: dict[str, list[ScannedMatrix]] = defaultdict(list)
    for matrix in matrices:
        tensors[matrix.name].append(matrix)
    kinds: dict[str, list[Candidate]] = defaultdict(list)
    for name, members in tensors.items():
        kind = reference_kind(name.removesuffix(SUFFIX))
        kinds[kind].append(joint_candidate(members, kind, score=PUBLISHED_SCORE))
    choices = []
    for kind, candidates in kinds.items():
        order = tuple(sorted(candidates, key=lambda candidate: candidate.value, reverse=True))
        # In the script's own arithmetic: a percentage, and truncation.
        taken = int(len(order) * round(share * 100, 10) / 100)
        choices.append(KindChoice(kind=kind, order=order, taken=taken))
    return choices
