"""``devenv status`` and ``devenv list``."""

from __future__ import annotations

from dataclasses import asdict

import click

from devenv.cli import show
from devenv.cli.options import Settings, common
from devenv.cli.session import looking, say


@click.command()
@common(output=True)
@click.pass_obj
def status(settings: Settings) -> None:
    """Show what runs where, as the nodes tell it.

    \b
    Examples:
      devenv status
      devenv status --output json | jq '.nodes[].containers[].name'
    """
    found = looking(settings).status()
    if settings.as_json:
        show.print_json(found.data())
    else:
        show.print_status(found)


@click.command("list")
@common(output=True)
@click.pass_obj
def list_environments(settings: Settings) -> None:
    """List the environments on this machine.

    \b
    Example:
      devenv list
    """
    from devenv.providers import discover

    found = discover.existing()
    if settings.as_json:
        show.print_json([{**asdict(one), "state": one.state} for one in found])
    elif not found:
        say("there is no environment; make one with: devenv up")
    else:
        head = ("NAME", "PROVIDER", "TOPOLOGY", "NODES", "STATE", "AGE", "OWNER")
        rows = [
            (
                one.name,
                one.provider,
                one.topology or "-",
                ", ".join(one.nodes) or "-",
                one.state,
                show.duration(one.age),
                one.owner or "-",
            )
            for one in found
        ]
        show.print_table(head, rows)
