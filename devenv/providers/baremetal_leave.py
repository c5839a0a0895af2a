"""Gives hosts back: what an environment has there goes, at wish all that was ever changed."""

from __future__ import annotations

from collections.abc import Sequence

from devenv.core.errors import DevenvError, WaitTimeout
from devenv.nodes.keys import key_pair
from devenv.providers import baremetal_clean, baremetal_facts, baremetal_lock, baremetal_state
from devenv.providers.baremetal_access import Access, on_all, raise_first
from devenv.providers.baremetal_ssh import Unreachable
from devenv.providers.baremetal_state import Record
from devenv.topology.machines import Host


def give_back(
    access: Access, record: Record, names: Sequence[str], *, restore: bool, force: bool
) -> list[str]:
    """Take the environment off the hosts behind `names`, and forget those; says what it removed.

    :param restore: leave them as they were found.
    :param force: forget those, too, that do not answer.
    :raises NodeError: for hosts that could not be given back; the others were.
    """
    key_pair(access.state)  # Before the threads, of which each would make one of its own.
    errors: list[DevenvError] = []
    done: list[str] = []

    def work(name: str) -> list[str]:
        removed: list[str] = []
        try:
            if not record.cloud:
                removed = _leave(access, name, record.hosts[name].host, restore=restore)
        except (Unreachable, WaitTimeout) as error:
            if not force:
                errors.append(error)
                return []
            removed = [f"{name} from what is remembered; it did not answer and keeps what it has"]
        except DevenvError as error:
            errors.append(error)
            return []
        done.append(name)
        return removed

    removed = [line for lines in on_all(work, names) for line in lines]
    if record.cloud:
        from devenv.providers import baremetal_ironic

        # They are wiped: nothing on them has to be taken back. All of them is also those that a
        # kill kept from being remembered.
        some = None if set(names) == record.hosts.keys() else names
        removed += baremetal_ironic.release(access.environment, record.cloud, some, access.events)
    left = {name: known for name, known in record.hosts.items() if name not in done}
    kept = record.model_copy(update={"hosts": left}) if left else None
    baremetal_state.save(access.state, kept)
    raise_first(errors)
    return removed


def _leave(access: Access, name: str, host: Host, *, restore: bool) -> list[str]:
    shell = access.way_in(name, host)
    facts = baremetal_facts.gather(shell)
    lock, changes = facts.lock, facts.changes
    if lock is not None and not lock.belongs_to(access.environment):
        return []  # Somebody else's by now.
    removed: list[str] = []
    if lock is not None:
        removed += baremetal_clean.clear(shell, facts, access.environment)
        removed.append("lock")
    if restore and changes is not None:
        removed += baremetal_clean.restore(shell, changes, name)
    # The way in, the names and the lock in one script, so that a kill leaves all or nothing.
    last = baremetal_clean.FORGET if restore else f"rm -f {baremetal_lock.FILE}"
    shell.run(f"{baremetal_clean.leave_script(changes, access.environment)}\n{last}")
    return [f"{line} on {name}" for line in removed]
