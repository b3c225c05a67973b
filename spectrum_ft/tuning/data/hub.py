"""Data sets on the Hugging Face Hub, read through the `datasets` library and its cache."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from spectrum_ft.checkpoints.hub_errors import no_answer
from spectrum_ft.errors import DataError
from spectrum_ft.tuning.data.rows import FIELDS, Placed, Rows, gather_rows, without_nulls

SPLIT = "train"
"""The part of a data set that is read."""

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_ID = re.compile(
    rf"(?P<repo>{_NAME}/{_NAME})(?::(?P<config>[\w.+-]+))?(?:@(?P<revision>\w[\w./+-]*))?", re.ASCII
)

# `datasets` alone would retry for 23 seconds where there is no network.
_ANSWER_SECONDS = 4.0


def is_data_set_id(text: str) -> bool:
    """Whether `text` reads as `owner/name`, `:config` and `@revision` after it or not."""
    return _ID.fullmatch(text) is not None


def read_data_set(source: str, columns: Mapping[str, str]) -> Rows:
    """The training split of the data set on the Hub with the id `source`.

    Downloaded once into the cache of `datasets`; with HF_HUB_OFFLINE set, taken from there. No
    code from the Hub is run. Raises `DataError` if the Hub has no such data set, gives no answer,
    or if what it gives cannot be read.
    """
    parts = _ID.fullmatch(source)
    assert parts is not None
    _check_reachable(source, parts["repo"], parts["revision"])
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with _quiet_unless_watched():
            found = load_dataset(
                parts["repo"], parts["config"], split=SPLIT, revision=parts["revision"]
            )
    # What it raises for an unknown config, split, format or script; it documents no types.
    except (DatasetsError, HfHubHTTPError, ValueError, RuntimeError, OSError) as error:
        raise DataError(
            f"{source}: `datasets` cannot load its split {SPLIT}: {_brief(error)}",
            "look it up on the Hub; a config is given as owner/name:config",
        ) from None
    read = [name for name in found.column_names if name in {*FIELDS, *columns}]
    unread = [name for name in found.column_names if name not in read]
    return gather_rows(
        _placed(found.select_columns(read), source, unread), source, found._fingerprint, columns
    )


def _placed(found: Any, source: str, unread: list[str]) -> Placed:
    for number, values in enumerate(found, start=1):
        yield f"{source}, row {number}", dict.fromkeys(unread) | without_nulls(values)


def _check_reachable(source: str, repo: str, revision: str | None) -> None:
    """Raise `DataError` unless the Hub has it, or the user said to ask nobody."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if constants.HF_HUB_OFFLINE:
        return
    named = "HF_HUB_ETAG_TIMEOUT" in os.environ
    timeout = constants.HF_HUB_ETAG_TIMEOUT if named else _ANSWER_SECONDS
    try:
        HfApi().dataset_info(repo, revision=revision, timeout=timeout)
    except HFValidationError:
        raise DataError(f"{source}: not an id of a data set on the Hub") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in {401, 403, 404}:
            raise DataError(
                f"{source}: neither a file here nor a data set that the Hub lets us have",
                "check the spelling; for a private or gated one run `hf auth login`",
            ) from None
        raise DataError(f"{source}: the Hub answered {status}", "try again later") from None
    except no_answer() as error:
        raise DataError(
            f"{source}: no such file, and the Hub cannot be reached ({_brief(error)})",
            "give a local file, or set HF_HUB_OFFLINE=1 to use what the cache holds",
        ) from None


@contextmanager
def _quiet_unless_watched() -> Iterator[None]:
    """No log lines of `datasets` inside, and its progress bars only on a terminal."""
    from datasets.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    verbosity = logging.get_verbosity()
    hide = not sys.stderr.isatty() and not are_progress_bars_disabled()
    logging.set_verbosity(logging.CRITICAL)
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if hide:
            enable_progress_bars()


def _brief(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return ascii(text.splitlines()[0][:150])[1:-1]
