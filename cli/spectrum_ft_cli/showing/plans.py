"""A plan's record, where the user reads it."""

import os.path
from dataclasses import replace
from typing import TYPE_CHECKING

from spectrum_ft.checkpoints.checkpoint import PACKAGED_PREFIX, fingerprint, open_checkpoint
from spectrum_ft.checkpoints.hub import is_hub_id, quiet_hub, split_hub_id
from spectrum_ft.errors import CheckpointError, OutputError, PlanError, RecordError, few_names
from spectrum_ft.planning.published import ALWAYS_TRAINED
from spectrum_ft.record_files import STDIN
from spectrum_ft.records.plans import Plan
from spectrum_ft.treatments.subjects import Subject, of_plan, of_scan
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given, formats
from spectrum_ft_reports.plans.terminal import print_plan
from spectrum_ft_reports.plans.views import PlanView, plan_view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MENDED = "so only what the plan itself says is shown. --scan SCAN|MODEL says what it is about."


def show(plan: Plan, given: Given) -> None:
    """Print what a plan trains on standard output."""
    print_plan(ReportConsole(), _view(plan, given))


class _NotHere(CheckpointError):
    """There is nothing where a model or a scan was looked for."""


def _view(plan: Plan, given: Given) -> PlanView:
    return plan_view(plan, subject_of(plan, given), given.shape, path=given.path)


def subject_of(plan: Plan, given: Given) -> Subject:
    """The model that `plan` is about: the one given, else the one that it names, if it is here.

    Nothing is downloaded and no weights are read. Raises `PlanError` for a model or a scan given
    that the plan was not made for, and for names of the plan that the model lacks.
    """
    if given.scan is None:
        return _named(plan)
    if given.scan == given.path == STDIN:
        raise RecordError("- is the plan and its scan at once", "give one of them as a file")
    subject, own = _read(given.scan, plan)
    made_for = plan.model.fingerprint
    if made_for is not None and own is not None and made_for != own:
        raise PlanError(
            f"the plan was made for {_quoted(plan)} (fingerprint {made_for[:12]}), "
            f"--scan {given.scan} is about another model ({own[:12]})",
            "give the scan or the model that it was made from",
        )
    _check_names(plan, subject)
    return subject


def _quoted(plan: Plan) -> str:
    return ascii(plan.model.source)[1:-1][:100]


def _named(plan: Plan) -> Subject:
    """The model that `plan` names, if it is here and is the one that the plan was made for."""
    try:
        subject, own = _read(os.path.expanduser(plan.model.source), plan, by_plan=True)
    except _NotHere:
        told = f"What the plan was made from, {_quoted(plan)}, is not on this machine"
        return of_plan(plan, f"{told}, {_MENDED}")
    except (CheckpointError, RecordError, OutputError) as fault:
        told = f"What the plan was made from cannot be read ({fault.message})"
        return of_plan(plan, f"{told}, {_MENDED}")
    made_for = plan.model.fingerprint
    is_another = made_for != own if made_for is not None else bool(_unknown(plan, subject))
    if is_another:
        told = f"What lies at {_quoted(plan)} is not the model that this plan was made for"
        return of_plan(plan, f"{told}, {_MENDED}")
    _check_names(plan, subject)
    return replace(subject, found=plan.model.source)


def _read(source: str, plan: Plan, *, by_plan: bool = False) -> tuple[Subject, str | None]:
    """The scan or the model at `source`, and its fingerprint; `by_plan` if the plan says where."""
    from spectrum_ft.scan_files import read_scan
    from spectrum_ft_cli.scan import names_a_scan

    # Only an import names a file of scores, and a stranger's plan may name what never ends.
    may_be_scan = not by_plan or (plan.model.fingerprint is None and os.path.isfile(source))
    if may_be_scan and names_a_scan(source):
        report = read_scan(source)
        own = report.model.fingerprint
        # The two that the published script trains always, though its results leave them out.
        unscored = [n for n in ALWAYS_TRAINED if n in plan.reached] if own is None else []
        return of_scan(report, source, unscored), own
    checkpoint = open_checkpoint(_on_this_machine(source))
    shapes = {entry.name: tuple(entry.shape) for entry in checkpoint.entries}
    subject = Subject(shapes=shapes, places=checkpoint.places, found=source)
    return subject, fingerprint(checkpoint.entries)


def _on_this_machine(source: str) -> str:
    """The path of a model that `open_checkpoint` opens without a network.

    Raises `_NotHere` where nothing is.
    """
    if not source or os.path.exists(source) or source.startswith(PACKAGED_PREFIX):
        return source
    if not is_hub_id(source):
        hint = "give a model folder, a .safetensors or .gguf file, or a scan of it"
        raise _NotHere(f"{source}: no such file or folder", hint)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repo_id, revision = split_hub_id(source)
    try:
        with quiet_hub():
            return snapshot_download(repo_id, revision=revision, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError):
        raise _NotHere(
            f"{source}: not on this machine, and a report downloads nothing",
            "give a scan of it, or its folder",
        ) from None


def _check_names(plan: Plan, subject: Subject) -> None:
    """Raise `PlanError` for names of `plan` that the model does not hold."""
    unknown = _unknown(plan, subject)
    if not unknown:
        return
    from difflib import get_close_matches

    close = get_close_matches(unknown[0], subject.places, n=3)
    raise PlanError(
        f"{len(unknown)} of the plan's names are not in this model: {few_names(unknown)}",
        f"did you mean {few_names(close)}?" if close else "was it made for another model?",
    )


def _unknown(plan: Plan, subject: Subject) -> list[str]:
    return [name for name in plan.reached if name not in subject.places]


def _page(plan: Plan, given: Given) -> str:
    from spectrum_ft_reports.plans.page import plan_page

    return plan_page(plan, _view(plan, given), source=given.source)


def _markdown(plan: Plan, given: Given) -> str:
    from spectrum_ft_reports.plans.markdown import plan_markdown

    return plan_markdown(_view(plan, given), plan.command)


def _picture(plan: Plan, given: Given) -> "Figure":
    from spectrum_ft_reports.plans.pictures import draw_plan

    return draw_plan(_view(plan, given))


FORMATS: Formats = formats(page=_page, markdown=_markdown, picture=_picture)
"""The files that a plan is written to."""
