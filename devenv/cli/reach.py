"""``devenv ssh``, ``devenv exec`` and ``devenv logs``."""

from __future__ import annotations

import os
import shlex
import sys

import click

from devenv.cli.options import Settings, WithCommand, common, option
from devenv.cli.session import looking, say

node_option = option("--node", metavar="NODE", help="Only on this node.")


@click.command(cls=WithCommand, rest="[-- COMMAND...]")
@click.argument("node", required=False)
@common()
@click.pass_obj
def ssh(settings: Settings, node: str | None, command: list[str]) -> None:
    """Log in to a node as root, or run a command on it.

    NODE may be left out where there is only one. A command of one word goes to the node's shell
    as it is, so pipes and wildcards work in quotes.

    \b
    Examples:
      devenv ssh aio
      devenv ssh aio -- docker ps
      devenv ssh aio -- 'ip address | grep inet'
    """
    from devenv.core import paths
    from devenv.deploy.places import node_called
    from devenv.nodes.connection import Connection

    chosen = node_called(looking(settings).inventory(), node)
    live = sys.stdin.isatty() and sys.stdout.isatty()
    words = Connection(chosen, paths.sockets(settings.name)).argv(tty=live)
    words += [command[0] if len(command) == 1 else shlex.join(command)] if command else []
    sys.stdout.flush()
    os.execvp(words[0], words)  # noqa: S606 - ssh takes this process's place


@click.command("exec", cls=WithCommand, rest="-- COMMAND...")
@click.argument("service")
@node_option
@common()
@click.pass_obj
def exec_command(settings: Settings, service: str, node: str | None, command: list[str]) -> int:
    """Run a command in a container; its exit code is the command's.

    SERVICE is a container, or a service that has only one. On several nodes it is the first
    node's unless --node says another.

    \b
    Examples:
      devenv exec nova_libvirt -- virsh list
      devenv exec mariadb -- bash
    """
    from devenv.deploy import terminal
    from devenv.deploy.places import find, node_called, one

    if not command:
        raise click.UsageError("no command was given: devenv exec SERVICE -- COMMAND")
    environment = looking(settings)
    nodes = (node_called(environment.inventory(), node),) if node else None
    with environment.connections(nodes) as connections:
        places = find(connections, settings.name, service)
        place = one(places)
        if len(places) > 1:
            say(f"on {place.node}; it is on {len(places)} nodes")
        return terminal.run(place, command)


@click.command()
@click.argument("service")
@node_option
@option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each.")
@common()
@click.pass_obj
def logs(
    settings: Settings, service: str, node: str | None, follow: bool, tail: int | None
) -> None:
    """Show the log of a container, or of all containers of a service.

    A one-shot job is asked for by its container's name, such as keystone_bootstrap.

    \b
    Examples:
      devenv logs nova
      devenv logs nova_compute --tail 20 -f
    """
    from devenv.deploy.logs import logs as lines
    from devenv.deploy.places import find, node_called

    environment = looking(settings)
    nodes = (node_called(environment.inventory(), node),) if node else None
    with environment.connections(nodes) as connections:
        places = find(connections, settings.name, service, jobs=True)
        several = len(places) > 1
        for place, line in lines(places, tail=tail, follow=follow):
            source = f"{place.node}/{place.container.name} | ".encode() if several else b""
            click.echo(source + line)
