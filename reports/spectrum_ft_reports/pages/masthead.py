"""What every page begins and ends with, whatever record it shows."""

from dataclasses import dataclass

from spectrum_ft.records.environments import Environment
from spectrum_ft_reports.parts.facts import Fact, KeyFigure
from spectrum_ft_reports.parts.untrusted import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Masthead:
    """The top of a page."""

    kind: str
    """What the record is: `scan`, `plan`, `run`, `comparison`, `diff`."""
    title: str
    """The model, or the two."""
    verdict: str
    """What came of it, in one sentence."""
    figures: tuple[KeyFigure, ...]
    """The three or four figures that matter."""
    cautions: tuple[str, ...] = ()
    """Where the figures are weaker than they look: thin spectra, one seed, a rounded model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The file that a page is made from."""

    name: str
    """As the user gave it: commands on the page name it."""
    digest: str
    """SHA-256 of the file; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How the record was made, and so how to make it again."""

    command: str
    """The command line; empty where none is known."""
    facts: tuple[Fact, ...]
    """Versions, device, schema, checksum."""


def making(*, command: str, schema: str, source: Source, environment: Environment | None) -> Making:
    """How a record of `schema`, read from `source`, was made."""
    facts = []
    if environment is not None:
        versions = (
            f"spectrum-ft {environment.spectrum_ft}, Python {environment.python}, "
            f"numpy {environment.numpy}, scipy {environment.scipy}"
        )
        facts.append(Fact("versions", printable(versions)))
        where = f"{environment.device}, {environment.platform}"
        facts.append(Fact("computed on", printable(where)))
    facts.append(Fact("record", f"{printable(source.name)}, {schema}"))
    if source.digest:
        facts.append(Fact("SHA-256", source.digest))
    return Making(command=printable(command, 8_000), facts=tuple(facts))
