"""What goes wrong between here and the Hugging Face Hub, in words that say what to do."""

import errno
import json
from typing import TYPE_CHECKING

from spectrum_ft.errors import CheckpointError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

_LOG_IN = "run `hf auth login` or set HF_TOKEN"


def no_answer() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises where no Hub answers, or a page of something else does."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    # The HTTP client's own base class: httpx.HTTPError, or httpx2's in later releases.
    http_error = HfHubHTTPError.__bases__[0]
    assert issubclass(http_error, Exception)
    return http_error, OfflineModeIsEnabled, json.JSONDecodeError


def out_of_reach(
    repo_id: str, revision: str, reason: Exception, cached: str = "it is not"
) -> CheckpointError:
    """No answer from the Hub, and `cached` tells what of the model is in the cache."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    hint = "give a local folder, or try again with a network"
    if isinstance(reason, OfflineModeIsEnabled):
        why = "offline mode is on"
        hint = "give a local folder, or unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE)"
    elif isinstance(reason, HfHubHTTPError):
        why = f"the Hub is out of order (it answered {reason.response.status_code})"
    else:
        why = f"the Hub cannot be reached ({_brief(reason)})"
    where = repo_id if revision == "main" else f"{repo_id}@{revision}"
    return CheckpointError(f"{where}: {why}, and {cached} in the local cache", hint)


def refused(repo_id: str, revision: str, error: "HfHubHTTPError") -> CheckpointError:
    """The Hub answered, and the answer was no."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):  # a kind of RepositoryNotFoundError, so asked first
        return CheckpointError(
            f"{repo_id}: the Hub gives it only to accounts that have accepted its terms",
            f"accept them on the model's page, then {_LOG_IN}",
        )
    if isinstance(error, RevisionNotFoundError):
        return CheckpointError(
            f"{repo_id}: has no branch, tag or commit {revision}",
            f"leave @{revision} out for the newest, or look it up on the model's page",
        )
    if isinstance(error, RepositoryNotFoundError):
        return CheckpointError(
            f"{repo_id}: the Hub has no such model, or it is private",
            f"check the spelling, of a local path too; for a private model {_LOG_IN}",
        )
    status = error.response.status_code
    if status == 401:
        return CheckpointError(
            f"{repo_id}: the Hub does not accept your access token",
            "run `hf auth login` again, or unset HF_TOKEN",
        )
    return CheckpointError(
        f"{repo_id}: the Hub answered {status}",
        "try again later; if that does not help, look at HF_ENDPOINT and at your proxy",
    )


def broken_off(repo_id: str, error: Exception) -> CheckpointError:
    """A download that began and did not end; huggingface_hub has retried by now."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return CheckpointError(
            f"{repo_id}: no room for the download in huggingface_hub's cache",
            "free some space, or name another folder in HF_HOME",
        )
    return CheckpointError(
        f"{repo_id}: the download broke off ({_brief(error)})",
        "run the same command again: files that are complete are kept",
    )


def _brief(error: Exception) -> str:
    """The start of the library's message as printable text: parts of it may come from outside."""
    text = str(error).strip() or type(error).__name__
    return ascii(text.splitlines()[0][:150])[1:-1]
