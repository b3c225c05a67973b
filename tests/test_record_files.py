"""Records as files: strict JSON out, and in again only what fits."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spectrum_ft.errors import RecordError
from spectrum_ft.record_files import (
    check_schema,
    parse_record,
    read_bytes_of,
    refuse_unknown,
    to_json,
    to_record,
)
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.scans import (
    SCAN_SCHEMA,
    ModelInfo,
    ScannedMatrix,
    ScanReport,
    SkippedTensor,
    SpectrumSummary,
)

REPORT = ScanReport(
    model=ModelInfo(
        source="~/models/né 😀", revision=None, fingerprint="f" * 64, parameters=2**40, layers=2
    ),
    score="snr",
    matrices=(
        ScannedMatrix(
            name="model.layers.0.mlp.up_proj.weight",
            kind="mlp.up_proj",
            layer=0,
            expert=None,
            shape=(8, 4),
            dtype="bfloat16",
            scores={"snr": 0.1, "alpha": None, "condition": 1e300},
            spectrum=SpectrumSummary(
                max=3.5, min=5e-324, q25=0.1, median=0.2, q75=0.3, sum=1.0, count=4, error=1e-7,
                histogram=(0, 4),
            ),
            edge=1 / 3,
            signal_rank=1,
            digest="d" * 64,
            flags=("thin", "escalated"),
        ),
        ScannedMatrix(
            name="\x1b[2J</script>\u2028", kind="", layer=None, expert=7, shape=(), dtype=None,
            scores={}, spectrum=None, edge=None, signal_rank=None, digest=None,
        ),
    ),
    skipped=(SkippedTensor(name="model.norm.weight", shape=(4,), reason="vector"),),
    environment=Environment(
        spectrum_ft="0.1", python="3.11", numpy="2", scipy="1", platform="Linux", device="cpu"
    ),
    seconds=0.25,
    command="spectrum scan '~'",
)  # fmt: skip


def read(data: str | bytes, path: str = "scan.json") -> ScanReport:
    raw = data.encode() if isinstance(data, str) else data
    return to_record(parse_record(raw, path), ScanReport, SCAN_SCHEMA, path)


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    """The report's JSON after a change by hand."""
    table = json.loads(to_json(REPORT))
    change(table)
    return json.dumps(table)


def refusal(data: str | bytes) -> RecordError:
    """Why the record is refused, checked to be fit for one line of a terminal."""
    with pytest.raises(RecordError) as caught:
        read(data)
    assert caught.value.message.startswith("scan.json: ")
    for text in (caught.value.message, caught.value.hint):
        assert text
        assert text.isprintable()
        assert len(text) <= 400
    return caught.value


def test_a_report_survives_the_round_trip() -> None:
    assert read(to_json(REPORT)) == REPORT
    assert to_json(read(to_json(REPORT))) == to_json(REPORT)


def test_keys_are_sorted_at_every_level() -> None:
    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
        return dict(pairs)

    table = json.loads(to_json(REPORT), object_pairs_hook=check)
    assert table["schema"] == "spectrum-ft/scan@1"


def test_each_matrix_takes_a_line() -> None:
    lines = to_json(REPORT).split("\n")
    assert [line.startswith('{"digest"') for line in lines].count(True) == len(REPORT.matrices)
    assert to_json(REPORT).endswith("}\n")


def test_nothing_in_a_record_commands_the_terminal_that_shows_it() -> None:
    text = to_json(SkippedTensor(name="\x1b[2J\x9b2J\u202e\u2028é", shape=(), reason=""))
    assert text.isascii()
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_cannot_be_written(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json({"seconds": value})


def test_a_byte_order_mark_is_forgiven() -> None:
    assert read(b"\xef\xbb\xbf" + to_json(REPORT).encode()) == REPORT


@pytest.mark.parametrize("version", ["2", "10", "999999999", "9" * 5000])
def test_a_newer_version_is_refused_with_the_way_out(version: str) -> None:
    error = refusal(changed(lambda table: table.update(schema=f"spectrum-ft/scan@{version}")))
    assert "written by a newer version (spectrum-ft/scan@" in error.message
    assert error.hint == "upgrade spectrum-ft"


def test_an_older_version_is_read() -> None:
    check_schema("spectrum-ft/scan@1", "spectrum-ft/scan@3", "scan.json")


@pytest.mark.parametrize(
    "schema",
    ["spectrum-ft/plan@1", "spectrum-ft/scan", "spectrum-ft/scan@", "spectrum-ft/scan@-1",
     "spectrum-ft/scan@1.5", "other", "", None, 1, ["spectrum-ft/scan@1"], "\x1b[2J" * 200],
)  # fmt: skip
def test_another_kind_of_record_is_refused(schema: object) -> None:
    error = refusal(changed(lambda table: table.update(schema=schema)))
    assert "not a spectrum-ft/scan record but" in error.message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda t: t.update(seconds="fast"), "$.seconds"),
        (lambda t: t["model"].update(layers="many"), "$.model.layers"),
        (lambda t: t["model"].update(layers=True), "$.model.layers"),
        (lambda t: t["matrices"][1].update(shape=[1, "2"]), "$.matrices[1].shape[1]"),
        (lambda t: t["matrices"][0]["scores"].update(snr="high"), "$.matrices[0].scores[...]"),
        (lambda t: t["matrices"][0]["spectrum"].update(count=1.5), "$.matrices[0].spectrum.count"),
        (lambda t: t.update(matrices={}), "$.matrices"),
        (lambda t: t["matrices"][0].pop("name"), "`name` - at `$.matrices[0]`"),
        (lambda t: t.pop("model"), "`model`"),
        (lambda t: t["matrices"][0].update(flags=["\x1b[2J" * 500]), "$.matrices[0].flags[0]"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    change: Callable[[dict[str, Any]], object], field: str
) -> None:
    error = refusal(changed(change))
    assert field in error.message
    assert error.hint == "it was edited or damaged; make it again"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"[]", "not a JSON object"),
        (b"12", "not a JSON object"),
        (b"{", "not JSON"),
        (b"\x80\x02}q.", "not UTF-8"),
        (b'{"a": 1, "a": 2}', "appears twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes, expected: str) -> None:
    assert expected in refusal(data).message


def test_an_unknown_key_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(RecordError) as caught:
        refuse_unknown({"schema", "tarin"}, {"schema", "train", "lora"}, "plan.yaml")
    assert caught.value.message == "plan.yaml: unknown key 'tarin'"
    assert caught.value.hint == "did you mean train?"


def test_an_unknown_key_like_no_other_is_answered_with_all_known_ones() -> None:
    with pytest.raises(RecordError) as caught:
        refuse_unknown({"\x1b[2J"}, {"train", "lora"}, "plan.yaml")
    assert caught.value.message == r"plan.yaml: unknown key '\x1b[2J'"
    assert caught.value.hint == "known keys: lora, train"
    refuse_unknown({"lora"}, {"train", "lora"}, "plan.yaml")


def test_a_file_or_standard_input_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scan.json").write_bytes(b"\x00\xff")
    assert read_bytes_of(str(tmp_path / "scan.json")) == b"\x00\xff"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"from stdin")))
    assert read_bytes_of("-") == b"from stdin"


@pytest.mark.parametrize("name", [".", "missing.json", "x" * 300])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    with pytest.raises(RecordError) as caught:
        read_bytes_of(path)
    assert caught.value.message.startswith(f"{path}: "[:150])  # the middle may be left out
    assert "cannot be read" in caught.value.message
