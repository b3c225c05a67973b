"""A GGUF file as a standard transformers folder, converted once and kept in the cache.

Training needs dense weights under the names that transformers uses, and a folder that any tool
reads. The weights stay what the file's blocks decode to: their rounding noise comes along.
"""

import hashlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from spectrum_ft.cache_folder import cache_folder, filling
from spectrum_ft.errors import CheckpointError

# What transformers raises for a GGUF that it cannot read; its loaders document no types.
_LOADING_ERRORS = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OSError)


def convert_gguf(path: Path) -> Path:
    """The cached folder that holds `path` in transformers' form, made now if it is not there.

    In it: config, generation config, `model.safetensors` in float32, tokenizer, and the chat
    template if the file has one. The folder's name is a digest of the file's content, so a moved
    file is not converted again and a changed one is. Nothing but the file is read, and no code
    that came with it is run.

    Raises CheckpointError for a file that transformers cannot convert, OutputError if the cache
    cannot be written. The file's header is trusted to be sane: `open_checkpoint` it first.
    """
    target = cache_folder() / "converted" / _key(path)
    if not target.is_dir():
        with filling(target) as folder, quiet_transformers():
            _convert(path.absolute(), folder)
    return target


def gguf_names(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """transformers' name for each of the GGUF tensors `names`, as converted into `folder`.

    A tensor that transformers drops (rope frequencies, which it computes) is absent.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import TensorProcessor, get_gguf_hf_weights_map

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    try:
        table = get_gguf_hf_weights_map(model, TensorProcessor(config=config.to_dict()))
    except NotImplementedError:
        return {}  # only the conversion's own names are known then
    return {name: table[name] for name in names if name in table}


def _key(path: Path) -> str:
    """The folder's name: the file's stem to read, and 16 hex digits of its content's SHA-256."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    # The stem is someone else's text: only plain characters of it become a folder's name.
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', path.stem)[:80]}-{digest[:16]}"


def _convert(path: Path, folder: Path) -> None:
    """Write `path` into `folder` with transformers."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    empty = folder / "nothing"  # what lies beside a GGUF must not become part of its conversion
    empty.mkdir()
    source = {"gguf_file": str(path), "trust_remote_code": False}
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            empty,
            dtype=torch.float32,
            # Without this the model stays marked as quantized, which forbids saving it, and may
            # even keep its linear layers packed where a kernel for them is installed.
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
            **source,
        )
        tokenizer = AutoTokenizer.from_pretrained(empty, **source)
    except _LOADING_ERRORS as error:
        raise CheckpointError(
            f"{path}: transformers cannot convert this GGUF: {_one_line(error)}",
            "it can still be scanned; to train, give the model's safetensors instead",
        ) from error
    empty.rmdir()
    # transformers fills what a file lacks with random numbers and only logs it.
    lacking = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
    if lacking:
        raise CheckpointError(
            f"{path}: lacks {len(lacking)} of the model's tensors, or has them in another shape: "
            + ", ".join(lacking[:3])
        )
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except SafetensorError as fault:  # a full disk, in the words of another language's runtime
        raise OSError(_one_line(fault)) from fault


def _one_line(error: Exception) -> str:
    """The start of a library's message, which may run over many lines and quote the file."""
    text = str(error).strip() or type(error).__name__
    return ascii(text.splitlines()[0][:200])[1:-1]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No bars, log lines or warnings from transformers inside; its settings as before outside."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.CRITICAL)
    try:
        # One of the bars is a plain tqdm, which heeds no setting but where stderr leads.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
