"""``devenv up`` and ``devenv down``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from devenv.cli import show
from devenv.cli.options import Settings, SourceType, common, option, topology_option
from devenv.cli.session import changing, interruptible, say, wanted


@click.command()
@topology_option(
    "A preset (aio, multinode) or a YAML file.  [default: the environment's, else aio]"
)
@option(
    "--source",
    "sources",
    multiple=True,
    type=SourceType(),
    metavar="SERVICE=PATH",
    help="Run SERVICE from the checkout in PATH. May be given several times.",
)
@option(
    "--force",
    is_flag=True,
    help="Take away nodes that the topology lost, also with guests on them, and take hosts on that "
    "run somebody's containers.",
)
@common(output=True)
@click.pass_obj
def up(
    settings: Settings,
    topology: str | None,
    sources: tuple[tuple[str, Path], ...],
    force: bool,
) -> None:
    """Bring an environment up, or bring it up to date.

    Makes what is missing, changes what differs, touches nothing else. After an error, or when
    it was killed, run it again: it goes on from there.

    \b
    Examples:
      devenv up
      devenv up --source nova=../nova
      devenv up --name lab --topology multinode
    """
    from devenv.deploy.checkouts import checkouts

    begin = time.monotonic()
    loaded = wanted(settings, topology)
    folders = checkouts(loaded, sources)
    for warning in loaded.topology.warnings():
        say(f"warning: {warning}")
    next_time = show.command("up", name=settings.name)
    with (
        interruptible(f"`{next_time}` goes on from here"),
        changing(settings, loaded.topology.provider) as environment,
    ):
        outcome = environment.up(loaded, folders, force=force)
    seconds = time.monotonic() - begin
    status, changed = outcome.status, outcome.changed
    if settings.as_json:
        data = {"changed": changed, "seconds": round(seconds, 2)}
        timeline = {"timeline": outcome.timeline.as_dict()}
        show.print_json({**status.data(), **data, **timeline})
        return
    count = len(status.containers())
    if not changed:
        guest = f", guest at {status.guest.address}" if status.guest else ""
        say(f"nothing to change: {count} containers run and answer{guest} ({seconds:.1f} s)")
        return
    show.print_nodes(status)
    show.print_guest(status)
    ssh = show.command("ssh", status.inventory.nodes[0].name, name=settings.name)
    say(f"\n{settings.name} is up after {seconds:.0f} s (changed: {len(changed)}). Next:")
    say(f"  {show.command('test', 'nova-boot', name=settings.name)}")
    say(f"  {ssh}")
    say(f"  {show.openstack('server', 'list', name=settings.name)}")


@click.command()
@topology_option("Only needed if nobody but the topology knows the provider.")
@option(
    "--restore-host",
    is_flag=True,
    help="Bare metal: take back all that was changed on the hosts, the Docker Engine, too.",
)
@option("--force", is_flag=True, help="Bare metal: forget hosts that do not answer.")
@common(output=True)
@click.pass_obj
def down(settings: Settings, topology: str | None, restore_host: bool, force: bool) -> None:
    """Remove an environment: nodes, networks, volumes, keys. It asks no question.

    What other environments use as well (images, kept schemas) stays; `devenv gc --cache`
    removes that.

    \b
    Examples:
      devenv down
      devenv down --name lab
      devenv down --name rack --restore-host
    """
    from devenv.core import paths
    from devenv.providers import discover

    there = {one.name: one.provider for one in discover.existing()}
    provider = settings.provider or there.get(settings.name, "local")
    if topology:
        provider = wanted(settings, topology).topology.provider
    removed = []
    state = paths.home() / "environments" / settings.name
    if settings.name in there or topology or state.exists():
        again = show.command("down", name=settings.name)
        with (
            interruptible(f"`{again}` removes the rest"),
            changing(settings, provider) as environment,
        ):
            removed = environment.down(force=force, restore_hosts=restore_host)
    else:
        say(f"there is no environment {settings.name!r}")
    for line in removed:
        say(f"removed {line}")
    if settings.as_json:
        show.print_json(removed)
