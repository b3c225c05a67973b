"""A scan as Markdown, for a model card or a pull request."""

from spectrum_ft.planning.making import Planned
from spectrum_ft.records.scans import ScanReport
from spectrum_ft_reports.parts.markdown import fenced, listed, safe, table
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.scans.cautions import cautions
from spectrum_ft_reports.scans.explorer import START, explorer, plan_shown, verdict
from spectrum_ft_reports.scans.units import units_of
from spectrum_ft_reports.scans.views import scan_view


def scan_markdown(report: ScanReport, planned: Planned | None, *, name: str) -> str:
    """The table of a scan's kinds, what was counted, and the commands that make both again.

    `planned` is the default plan, None if there is none; `name` is what the scan's file is called.
    """
    explored = explorer(report, units_of(report), name, only_first=True)
    view = scan_view(report, plan_shown(report, planned, explored))
    median, trains = f"median {safe(view.score)}", f"trains at {START} %"
    head = ("kind", median, trains, "weights", "layers that train")
    rows = [(safe(row.kind), row.median, row.train, row.params, row.layers) for row in view.rows]
    commands = [printable(report.command, 8_000), explored.command]
    parts = [f"### {safe(view.title)}", safe(verdict(explored))]
    parts += [table(head, rows, names=1)] if rows else []
    parts += listed("Note", cautions(report, explored))
    parts += listed("What was counted", [f"{fact.label}: {fact.text}" for fact in view.facts])
    parts.append(fenced("\n".join(command for command in commands if command)))
    return "\n\n".join(part for part in parts if part) + "\n"
