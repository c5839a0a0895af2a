"""``devenv test``: run scenarios against an environment."""

from __future__ import annotations

from pathlib import Path

import click

from devenv.cli import show
from devenv.cli.options import Settings, WithCommand, common, option
from devenv.cli.session import say


@click.command(cls=WithCommand, rest="[-- PYTEST OPTIONS...]")
@click.argument("names", metavar="[SCENARIO]...", nargs=-1)
@option("--list", "listing", is_flag=True, help="Only say which scenarios there are.")
@option("--last-failed", is_flag=True, help="Only the tests that failed or are unknown, again.")
@option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the results there as JUnit XML.",
)
@common(output=True)
@click.pass_obj
def test(
    settings: Settings,
    names: tuple[str, ...],
    listing: bool,
    last_failed: bool,
    junit: Path | None,
    command: list[str],
) -> int:
    """Run scenarios: all of them, or those that are named. A folder's name stands for all in it.

    What they found is merged into what is known of the environment; `devenv report` shows it.

    Ends with 0 if all passed, 1 if one failed or is unknown, 2 after an error, 3 if nothing ran
    and 4 if all were skipped. SIGTERM ends it as Ctrl-C does, with 143.

    \b
    Examples:
      devenv test --list
      devenv test nova-boot libvirt-restart --junit results.xml
      devenv test failover
      devenv test --last-failed
      devenv test nova-boot -- -x --verbose
    """
    from devenv.testing import run

    if not listing:
        return run.main(
            list(names), settings.name, junit, command, last_failed=last_failed, say=say
        )
    found = run.scenarios()
    if settings.as_json:
        show.print_json(found)
    else:
        show.print_table(("SCENARIO", "WHAT IT PROVES"), list(found.items()))
    return 0
