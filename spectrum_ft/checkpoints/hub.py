"""Models on the Hugging Face Hub: only the files that a scan reads, pinned to one commit.

The Hub is asked once what a repository holds. Weights and config are then downloaded into the
cache that huggingface_hub shares with other tools; pickles, tokenizers and code are not. Where
the Hub gives no answer, what that cache already holds is used.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from spectrum_ft.checkpoints.config_file import CONFIG
from spectrum_ft.checkpoints.file_reading import open_regular
from spectrum_ft.checkpoints.hub_errors import broken_off, no_answer, out_of_reach, refused
from spectrum_ft.errors import CheckpointError, few_names
from spectrum_ft.strict_json import JsonFault, parse_json

INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_PICKLES = (".bin", ".pt", ".pth")
_WEIGHT_FILES = (".safetensors", ".gguf", ".json", *_PICKLES)

# A tokenizer's files by the names that transformers gives them; no code is among them.
_COMPANIONS = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"(?P<repo>(?:{_NAME}/)?{_NAME})(?:@(?P<revision>\w[\w./+-]*))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")

# The Hub answers within a second; huggingface_hub would wait for ten, or retry for twenty.
_ANSWER_SECONDS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSnapshot:
    """One commit of a model repository, as far as it has been downloaded."""

    repo_id: str
    """The repository as it was asked for: `owner/name`, or `name` for a few old ones."""
    revision: str
    """The commit that it was pinned to: 40 hex digits."""
    folder: Path
    """Where the commit's files lie, in huggingface_hub's cache."""
    from_cache: bool
    """True if the Hub gave no answer: a branch may have moved on from `revision` since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubListing:
    """What a repository holds at one commit, as the Hub says."""

    repo_id: str
    """The repository as it was asked for."""
    revision: str
    """The branch, tag or commit that was asked for."""
    commit: str
    """The commit that it is at present: 40 hex digits."""
    names: Set[str]
    """Its files at the top level, each a plain name by POSIX and by Windows rules."""


def is_hub_id(text: str) -> bool:
    """Whether `text` reads as `owner/name` or `name`, with or without `@revision`.

    Nothing that is plainly a path does: no leading `.`, `/` or `~`, no second slash before the
    `@`, no backslash, and not the name of a weight file.
    """
    return _HUB_ID.fullmatch(text) is not None and not text.endswith(_WEIGHT_FILES)


def fetch_from_hub(hub_id: str) -> HubSnapshot:
    """The model's weights and config on this machine, downloaded as far as they are not yet.

    Raises `CheckpointError` if the Hub has no such model or revision or does not let us have it,
    if it has no weights that can be read safely, if a download breaks off, and if the Hub gives
    no answer within four seconds (HF_HUB_ETAG_TIMEOUT) and the cache lacks the model.
    """
    repo_id, revision = split_hub_id(hub_id)
    with quiet_hub():
        try:
            listing = ask_hub(repo_id, revision)
        except no_answer() as error:
            return _from_cache(repo_id, revision, error)
        return _download(listing)


def split_hub_id(hub_id: str) -> tuple[str, str]:
    """The repository and the revision (`main` if none is given) that `hub_id` names."""
    parts = _HUB_ID.fullmatch(hub_id)
    if parts is None:
        raise _not_an_id(hub_id)
    return parts["repo"], parts["revision"] or "main"


def ask_hub(repo_id: str, revision: str) -> HubListing:
    """What the Hub says that the repository holds.

    Raises `CheckpointError` if the answer is no, and one of `no_answer()` if there is none.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    named = "HF_HUB_ETAG_TIMEOUT" in os.environ
    timeout = constants.HF_HUB_ETAG_TIMEOUT if named else _ANSWER_SECONDS
    try:
        info = HfApi().model_info(repo_id, revision=revision, timeout=timeout)
    except HFValidationError:
        raise _not_an_id(repo_id) from None
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise refused(repo_id, revision, error) from error
        raise
    if not _COMMIT.fullmatch(info.sha or ""):
        raise CheckpointError(f"{repo_id}: the Hub did not say which commit {revision} is")
    names = _plain_names(file.rfilename for file in info.siblings or ())
    return HubListing(repo_id=repo_id, revision=revision, commit=str(info.sha), names=names)


def fetch_companions(snapshot: HubSnapshot) -> None:
    """Have what training and merging need besides weights: tokenizer, chat template, configs.

    Nothing is asked of the Hub where it gave no answer before; what the cache lacks will then be
    missed by whoever reads it. Raises `CheckpointError` if a download breaks off.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    if snapshot.from_cache:
        return
    breaks: tuple[type[Exception], ...] = (*no_answer(), OSError, RuntimeError)
    with quiet_hub():
        try:
            snapshot_download(
                snapshot.repo_id, revision=snapshot.revision, allow_patterns=list(_COMPANIONS)
            )
        except HfHubHTTPError as error:
            raise refused(snapshot.repo_id, snapshot.revision, error) from error
        except breaks as error:
            raise broken_off(snapshot.repo_id, error) from error


def _download(listing: HubListing) -> HubSnapshot:
    """The snapshot of the commit that was listed, after downloading what it lacks."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repo_id, revision, commit = listing.repo_id, listing.revision, listing.commit
    # hf_xet, which moves large files, raises RuntimeError; a full disk is an OSError.
    breaks: tuple[type[Exception], ...] = (*no_answer(), OSError, RuntimeError)
    wanted = [weight_file(repo_id, listing.names), *({CONFIG} & listing.names)]
    try:
        # By its name once: that is how the cache learns which commit the name means, for a day
        # without a network. By the commit from then on; what is there is not asked for again.
        hf_hub_download(repo_id, wanted[-1], revision=revision)
        paths = [Path(hf_hub_download(repo_id, name, revision=commit)) for name in wanted]
        if wanted[0] == INDEX:
            for shard in _shards(repo_id, paths[0], listing.names):
                hf_hub_download(repo_id, shard, revision=commit)
    except HfHubHTTPError as error:
        raise refused(repo_id, revision, error) from error
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise refused(repo_id, revision, error.__cause__) from error
        raise broken_off(repo_id, error) from error
    except breaks as error:
        raise broken_off(repo_id, error) from error
    return HubSnapshot(repo_id=repo_id, revision=commit, folder=paths[0].parent, from_cache=False)


def _from_cache(repo_id: str, revision: str, reason: Exception) -> HubSnapshot:
    """What an earlier download left, for when the Hub gives no answer because of `reason`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # The pattern only says what must be there, where the cache knows that there is more.
        folder = Path(
            snapshot_download(
                repo_id, revision=revision, local_files_only=True, allow_patterns=CONFIG
            )
        )
    except LocalEntryNotFoundError:
        raise out_of_reach(repo_id, revision, reason) from reason
    names = _plain_names(path.name for path in folder.iterdir() if path.exists())
    try:
        if weight_file(repo_id, names) == INDEX:
            _shards(repo_id, folder / INDEX, names)
    except CheckpointError:
        raise out_of_reach(repo_id, revision, reason, cached="only part of it is") from reason
    return HubSnapshot(repo_id=repo_id, revision=folder.name, folder=folder, from_cache=True)


def _plain_names(names: Iterable[str]) -> set[str]:
    """Those of `names` that are files at the top level, by POSIX and by Windows rules."""
    return {
        name for name in names if PurePosixPath(name).name == PureWindowsPath(name).name == name
    }


def weight_file(repo_id: str, names: Set[str]) -> str:
    """The file that holds the weights, or the index of the files that do."""
    for name in (INDEX, _SINGLE):
        if name in names:
            return name
    for suffix in (".safetensors", ".gguf"):
        found = sorted(name for name in names if name.endswith(suffix))
        if len(found) == 1:
            return found[0]
        if found:
            raise CheckpointError(
                f"{repo_id}: {len(found)} {suffix} files and no {INDEX}: {few_names(found)}",
                f"download one with `hf download {repo_id} FILE` and give its path",
            )
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    if pickles:
        raise CheckpointError(
            f"{repo_id}: only pickled weights ({few_names(pickles)}), and pickles can run code",
            f"if you trust its author: `hf download {repo_id} --local-dir DIR`, "
            "then give DIR and --allow-pickle",
        )
    raise CheckpointError(
        f"{repo_id}: no .safetensors or .gguf weights at its top level "
        f"(it has {few_names(sorted(names)) or 'no files there'})",
        "give a repository with a whole model in it",
    )


def _shards(repo_id: str, index: Path, names: Set[str]) -> Sequence[str]:
    """The shards that `index` names, each one of the repository's top-level `names`."""
    try:
        with closing(open_regular(index)) as file:
            table: Any = parse_json(file.read())
    except JsonFault as fault:
        raise CheckpointError(f"{repo_id}: {INDEX} is damaged: {fault}") from None
    weight_map = table.get("weight_map") if isinstance(table, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{repo_id}: {INDEX} has no weight_map")
    # Being one of the repository's own plain names is what makes a name safe to ask for.
    usable = {name for name in names if name.endswith(".safetensors")}
    shards = {str(shard) for shard in weight_map.values()}
    if not shards <= usable:
        lacking = sorted(shards - usable)
        raise CheckpointError(
            f"{repo_id}: {INDEX} names shards that it lacks: {few_names(lacking)}"
        )
    return sorted(shards)


def _not_an_id(hub_id: str) -> CheckpointError:
    return CheckpointError(f"{ascii(hub_id)[1:-1][:100]}: not an id of a model on the Hub")


@contextmanager
def quiet_hub() -> Iterator[None]:
    """No log lines or warnings from huggingface_hub inside; its settings as before outside."""
    # Its progress bars need nothing: they show on a terminal and stay away from a pipe.
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    verbosity = get_verbosity()
    set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        set_verbosity(verbosity)
