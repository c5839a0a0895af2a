"""Run checks, and mend what can be mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from devenv.core.errors import DevenvError
from devenv.host.checks import Check, Probe


def diagnose(probes: Iterable[Probe], fix: bool, say: Callable[[str], None]) -> list[Check]:
    """Run each of `probes` when its turn comes, so that a later one sees earlier fixes.

    With `fix`, each fix is said before it is applied and the probe is run again; a
    probe may then offer a further fix (installed, but not started yet). A fix that fails
    is told through `say` and leaves its check failed: the other probes still run.

    :returns: the last answer of every probe, in order.
    """
    return [_mend(probe, say) if fix else probe() for probe in probes]


def _mend(probe: Probe, say: Callable[[str], None]) -> Check:
    check = probe()
    tried: set[str] = set()
    while not check.ok and check.fix is not None and check.fix.says not in tried:
        tried.add(check.fix.says)
        say(check.fix.says)
        try:
            check.fix.apply()
        except DevenvError as error:
            say(str(error))
            return replace(check, found=f"{check.found}; mending it failed: {error.message}")
        check = probe()
    return check
