"""``devenv doctor`` and ``devenv gc``: this machine, not an environment."""

from __future__ import annotations

import click

from devenv.cli import show
from devenv.cli.options import Settings, common, option, topology_option
from devenv.cli.session import looking_or_new, say, wanted
from devenv.core.errors import EXIT_FAILED, EXIT_OK, HostError


@click.command()
@option("--fix", is_flag=True, help="Install and start what is missing; says each thing first.")
@topology_option("What it is to be fit for.  [default: the environment's, else aio]")
@common(output=True)
@click.pass_obj
def doctor(settings: Settings, fix: bool, topology: str | None) -> int:
    """Look at what this machine lacks, and mend it with --fix.

    Ends with 0 if nothing is missing that devenv cannot do without, else with 1.

    \b
    Examples:
      devenv doctor
      sudo devenv doctor --fix
    """
    from devenv.host.doctor import diagnose
    from devenv.providers.diagnosis import probes

    try:
        loaded = wanted(settings, topology)
    except HostError:  # Without an engine nobody knows the environment's.
        loaded = wanted(settings, "aio")
    provider = looking_or_new(settings, loaded.topology.provider).provider
    checks = diagnose(probes(provider, loaded), fix, say)
    if settings.as_json:
        show.print_json(
            [
                {
                    "name": check.name,
                    "ok": check.ok,
                    "fatal": check.fatal,
                    "found": check.found,
                    "remedy": "" if check.ok else check.remedy,
                }
                for check in checks
            ]
        )
    else:
        words = ["ok" if check.ok else "MISSING" if check.fatal else "without" for check in checks]
        rows = [(word, check.name, check.found) for word, check in zip(words, checks, strict=True)]
        show.print_table(("", "WHAT", "FOUND"), rows)
    failed = [check for check in checks if check.fatal and not check.ok]
    for check in failed:
        say(f"{check.name}: {check.remedy}")
    if any(check.fix for check in failed) and not fix:
        say("`devenv doctor --fix` does what it can of this")
    return EXIT_FAILED if failed else EXIT_OK


@click.command()
@option(
    "--cache",
    is_flag=True,
    envvar="DEVENV_GC_CACHE",  # DEVENV_CACHE is the folder of the cache.
    show_envvar=True,
    help="Remove built images and kept schemas, too: the next `up` is a cold one.",
)
@common(output=True)
@click.pass_obj
def gc(settings: Settings, cache: bool) -> None:
    """Remove what killed processes left behind. Environments with nodes are not touched.

    \b
    Examples:
      devenv gc
      devenv gc --cache
    """
    from devenv.core.errors import DevenvError
    from devenv.host.engine import connect
    from devenv.images import leftovers
    from devenv.providers import discover

    client = connect(timeout=600)
    removed = leftovers.remove_helpers(client)
    for one in discover.existing():
        if one.nodes:
            continue
        try:
            removed += looking_or_new(settings, one.provider, name=one.name).collect_garbage()
        except DevenvError as error:  # In use after all: somebody is making it just now.
            say(f"kept {one.name}: {error.message}")
    if cache:
        removed += leftovers.clear_cache(client)
    for line in removed:
        say(f"removed {line}")
    if not removed:
        say("nothing was left behind")
    if settings.as_json:
        show.print_json(removed)
