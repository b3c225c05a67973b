"""The forecast of a scan as Markdown and as a page."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hostile import NAMES, assert_markdown_is_text, assert_page_is_ours
from page_text import text_of
from spectrum_ft.record_files import to_json
from spectrum_ft.records.environments import Environment
from spectrum_ft.records.scan_forecasts import KindForecast, ScanForecast
from spectrum_ft.records.scans import ModelInfo
from spectrum_ft_reports.pages.masthead import Source
from spectrum_ft_reports.scan_forecasts.markdown import scan_forecast_markdown
from spectrum_ft_reports.scan_forecasts.page import scan_forecast_page
from spectrum_ft_reports.scan_forecasts.views import scan_forecast_view
from train_program import Spectrum

Approved = Callable[[str, str], str]
FORECAST = ScanForecast(
    model=ModelInfo(
        source="~/models/small",
        revision=None,
        fingerprint="f" * 64,
        parameters=8_030_261_248,
        layers=32,
    ),
    matrices=224,
    skipped={"vector": 65},
    workers=2,
    seconds=832.0,
    unbounded_seconds=700.0,
    reading_seconds=60.0,
    gram_seconds=600.0,
    eigenvalues_seconds=640.0,
    again_seconds=100.0,
    memory_bytes=3 * 2**29,
    read_bytes=15 * 2**30,
    streamed=True,
    kinds=(
        KindForecast(kind="mlp.down_proj", matrices=32, largest=(4096, 14336), seconds=1000.0),
        KindForecast(kind="self_attn.k_proj", matrices=192, largest=(1024, 4096), seconds=400.0),
    ),
    measured=None,
    environment=Environment(
        spectrum_ft="0.1.0",
        python="3.11.7",
        numpy="2.4.0",
        scipy="1.17.0",
        platform="Linux x86_64",
        device="cpu",
    ),
    command="spectrum scan ~/models/small --estimate",
)
SOURCE = Source(name="forecast.json", digest="ab" * 32)


def test_the_page_of_a_forecast_reads_as_it_was_approved(approved: Approved) -> None:
    text = text_of(scan_forecast_page(FORECAST, source=SOURCE))
    assert text == approved("scan-forecast-page", text)


def test_the_markdown_of_a_forecast_reads_as_it_was_approved(approved: Approved) -> None:
    text = scan_forecast_markdown(scan_forecast_view(FORECAST))
    assert text == approved("scan-forecast-markdown", text)


def test_every_figure_is_the_same_in_both() -> None:
    view = scan_forecast_view(FORECAST)
    page = text_of(scan_forecast_page(FORECAST, source=SOURCE))
    markdown = scan_forecast_markdown(view)
    for row in view.rows:
        assert " | ".join((row.kind, row.matrices, row.largest, row.share)) in page
        assert " | ".join((row.matrices, row.largest, row.share)) in markdown
    for fact in view.facts:
        assert fact.text in page


def test_what_was_not_measured_or_comes_from_afar_is_cautioned_against() -> None:
    near = replace(FORECAST, streamed=False, measured="2026-11-24")
    assert scan_forecast_page(FORECAST, source=SOURCE).count('<p class="caution">') == 2
    assert scan_forecast_page(near, source=SOURCE).count('<p class="caution">') == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_strangers_name_is_text_on_the_page_and_in_markdown(name: str) -> None:
    hostile = replace(
        FORECAST,
        model=replace(FORECAST.model, source=name, revision=name),
        kinds=(KindForecast(kind=name, matrices=1, largest=(), seconds=0.0),),
        skipped={name: 1},
        environment=replace(FORECAST.environment, device=name, platform=name),
        command=name,
    )
    page = scan_forecast_page(hostile, source=Source(name=name, digest=""))
    assert_page_is_ours(page)
    tags = set(re.findall(r"<(\w+)", scan_forecast_page(FORECAST, source=SOURCE)))
    assert set(re.findall(r"<(\w+)", page)) == tags
    assert_markdown_is_text(scan_forecast_markdown(scan_forecast_view(hostile)))


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_a_forecast_is_written_by_its_ending(
    suffix: str, tmp_path: Path, spectrum: Spectrum
) -> None:
    record, path = tmp_path / "forecast.json", tmp_path / f"forecast.{suffix}"
    record.write_text(to_json(FORECAST), "utf-8")
    assert spectrum("report", str(record), "-o", str(path)).returncode == 0
    assert "13 min 52 s" in path.read_text("utf-8")
    done = spectrum("report", str(record), "-o", str(tmp_path / "forecast.png"))
    assert done.returncode == 1
    assert "Hint: end its name in .html or .md" in done.stderr
