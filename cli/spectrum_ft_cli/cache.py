"""`spectrum cache`: the store of spectra."""

import click

from spectrum_ft.cache_folder import cache_folder
from spectrum_ft.spectra.store import FILE_NAME, SpectraStore
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.talk import Talk


@click.group("cache")
def command() -> None:
    """Look after the store of spectra.

    Singular values are kept by the content of their matrix, so that no matrix is ever computed
    twice. Set SPECTRUM_FT_CACHE to keep them elsewhere.

    \b
    Example:
      spectrum cache size
    """


@command.command("path", cls=Command)
def path() -> None:
    """Print where the store is.

    \b
    Example:
      spectrum cache path
    """
    click.echo(cache_folder() / FILE_NAME)


@command.command("size", cls=Command)
def size() -> None:
    """Print how many spectra are kept, and how many bytes they take.

    \b
    Example:
      spectrum cache size
    """
    place = cache_folder() / FILE_NAME
    if not place.exists():
        click.echo("0 spectra, 0 bytes")
        return
    with SpectraStore(place) as store:
        click.echo(f"{len(store):,} spectra, {place.stat().st_size:,} bytes")


@command.command("prune", cls=Command)
@option(
    "--older-than",
    group="Selection",
    type=click.FloatRange(min=0.0),
    default=90.0,
    show_default=True,
    metavar="DAYS",
    help="Drop spectra kept for longer than this; 0 drops all.",
)
@click.pass_obj
def prune(talk: Talk, older_than: float) -> None:
    """Drop old spectra; they are computed again when needed.

    \b
    Example:
      spectrum cache prune --older-than 30
    """
    place = cache_folder() / FILE_NAME
    dropped = 0
    if place.exists():
        with SpectraStore(place) as store:
            dropped = store.prune(older_than)
    talk.say(f"Dropped {dropped:,} spectra.")
