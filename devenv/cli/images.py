"""``devenv images``: build, box, list, lock."""

from __future__ import annotations

from dataclasses import asdict, replace

import click

from devenv.cli import show
from devenv.cli.options import Settings, common, option, topology_option
from devenv.cli.session import changing, interruptible, looking_or_new, say, wanted


@click.group()
def images() -> None:
    """Build, list and lock the images of services and machines."""


@images.command()
@topology_option("Whose services need images.  [default: the environment's, else aio]")
@common(output=True)
@click.pass_obj
def build(settings: Settings, topology: str | None) -> None:
    """Build the images that a topology needs, unless they are there.

    `devenv up` does this by itself; here it is done before, in a base image or a cache.

    \b
    Example:
      devenv images build --topology multinode
    """
    from devenv.environment import required_images

    loaded = wanted(settings, topology)
    again = show.command("images", "build", name=settings.name)
    with (
        interruptible(f"`{again}` goes on from here"),
        changing(settings, loaded.topology.provider) as environment,
    ):
        store = environment.stores.ensure(required_images(loaded))
    if settings.as_json:
        show.print_json(asdict(store))
    else:
        say(f"{len(store.images)} images are in {store.volume}")


@images.command()
@topology_option("Whose images go into it.  [default: the environment's, else aio]")
@common(output=True)
@click.pass_obj
def box(settings: Settings, topology: str | None) -> None:
    """Build the Vagrant box for a topology, unless it is there.

    Debian with Docker and the images that the topology's services run on, for libvirt, made
    without a download from elsewhere than Debian's and Python's archives. `devenv up --provider
    vagrant` does this by itself.

    \b
    Example:
      devenv images box --topology multinode
    """
    from devenv.deploy.delivery import choose
    from devenv.environment import required_images
    from devenv.host.engine import connect
    from devenv.images.box import ensure_box, find
    from devenv.services.catalogue import enabled

    loaded = wanted(settings, topology)
    recipes = required_images(loaded)
    used = choose(enabled(loaded), recipes, {})
    again = show.command("images", "box", name=settings.name)
    with (
        interruptible(f"`{again}` goes on from here"),
        changing(settings, loaded.topology.provider) as environment,
    ):
        store = environment.stores.ensure(recipes)
        store = replace(store, images={name: store.images[name] for name in sorted(used)})
        there = find(store).file.exists()
        made = ensure_box(connect(timeout=600), environment.stores, store, environment.events)
    size = made.file.stat().st_size
    if settings.as_json:
        names = [one.reference for one in store.images.values()]
        show.print_json(
            {
                "name": made.name,
                "version": made.version,
                "file": str(made.file),
                "size": size,
                "images": names,
            }
        )
    else:
        what = f"the box {made.name} {made.version} ({show.size(size)}, {len(store.images)} images)"
        say(f"{what} {'is there' if there else 'was built'}: {made.file}")


@images.command("list")
@common(output=True)
@click.pass_obj
def list_images(settings: Settings) -> None:
    """List the images that are built, by the store that they are in.

    \b
    Example:
      devenv images list
    """
    stores = looking_or_new(settings).stores
    found = [(name, stores.load(name)) for name in stores.names()]
    if settings.as_json:
        show.print_json(
            [
                {
                    "store": name,
                    "complete": store is not None,
                    "disk": store.disk if store else None,
                    "images": [asdict(one) for one in store.images.values()] if store else [],
                }
                for name, store in found
            ]
        )
        return
    if not found:
        say("no image is built; `devenv images build` or `devenv up` builds them")
        return
    rows = [
        (one.reference, one.recipe, show.size(one.size), name)
        for name, store in found
        if store
        for one in store.images.values()
    ]
    show.print_table(("IMAGE", "RECIPE", "SIZE", "STORE"), rows)
    for name, store in found:
        if store is None:
            say(f"{name} is not complete; the next build goes on from it")


@images.command()
@option(
    "--exclude-newer",
    metavar="DATE",
    help="Leave out what was uploaded later.  [default: the lock's own date]",
)
@option("--upgrade", is_flag=True, help="Choose anew what the lock already has.")
@common()
@click.pass_obj
def lock(settings: Settings, exclude_newer: str | None, upgrade: bool) -> None:
    """Lock what comes from PyPI: every version and hash.

    Writes requirements.lock from requirements.in, in a checkout of devenv. The next `up` builds
    the images anew if anything changed.

    \b
    Example:
      devenv images lock --exclude-newer 2026-06-01 --upgrade
    """
    from devenv.images import lock as locking

    date = exclude_newer or locking.EXCLUDE_NEWER
    changed = locking.compile_lock(date, upgrade=upgrade)
    path = locking.folder() / "requirements.lock"
    say(f"{path} {'changed' if changed else 'is as it was'}")
