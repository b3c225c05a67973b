"""What to do with a finished run, as commands."""

from pathlib import Path

from spectrum_ft.records.training import TrainRun
from spectrum_ft_reports.parts.commands import argument


def next_commands(run: TrainRun, folder: str) -> tuple[str, str]:
    """How to evaluate the result of `run`, kept in `folder`, and how to merge it."""
    held_out = argument(run.settings.eval_data or "test.jsonl")
    return f"spectrum eval {argument(folder)} --data {held_out}", merge_command(folder)


def merge_command(folder: str) -> str:
    """How to make the run in `folder` a model of its own, in a folder beside it."""
    return f"spectrum merge {argument(folder)} -o {argument(_merged(folder))}"


def _merged(folder: str) -> str:
    """A folder beside `folder`, named after it; a merge into the run itself is refused."""
    path = Path(folder)
    if path.name not in ("", ".."):  # a path drops every `.` but a lone one, which has no name
        return f"{path}-merged"
    name = path.resolve().name
    return str(path / ".." / f"{name}-merged") if name else "merged"
