"""``devenv report``: what the scenarios found, as a page, JUnit or JSON."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devenv.cli import show
from devenv.cli.options import Settings, common, option
from devenv.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@option(
    "--to",
    type=_FILE,
    metavar="FILE",
    help="Write the page there; `down` removes it from where it is by default.",
)
@option("--junit", type=_FILE, metavar="FILE", help="Write the results there as JUnit XML, too.")
@common(output=True)
@click.pass_obj
def report(settings: Settings, to: Path | None, junit: Path | None) -> None:
    """Make a page of what the last scenarios found, and name it.

    It shows each fault over what clients lived through, and opens without a network. Tests that
    ran again replace their earlier results.

    \b
    Examples:
      devenv report
      devenv report --to failover.html --junit results.xml
      devenv report --output json | jq '.results[] | [.test, .outcome]'
    """
    from devenv.core import paths
    from devenv.report import junit as xml
    from devenv.report import page, results, timeline

    folder = paths.environment(settings.name)
    try:
        run = results.read(folder / page.RESULTS)
    except InputError as error:
        with suppress(OSError):  # The folder was made by asking for it, or it has something in it.
            folder.rmdir()
        command = show.command("test", name=settings.name)
        raise InputError(error.message, remedy=command) from error
    where = to or folder / page.PAGE
    with _writing(where):
        page.write(where, run, timeline.last_up(folder / page.JOURNAL))
    if junit:
        with _writing(junit):
            xml.write(junit, run)
    if settings.as_json:
        show.print_json(results.data(run))
    else:
        click.echo(where.absolute())


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}", remedy="name another file"
        ) from error
