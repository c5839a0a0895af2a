"""The difference between what the topology says and what the labels say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from devenv.core.errors import DeployError
from devenv.deploy.actual import Actual, NodeState
from devenv.services.catalogue import catalogue
from devenv.services.render import Rendered

Verb = Literal["create", "replace", "start", "run", "check", "remove"]


@dataclass(frozen=True)
class Action:
    """One thing to do about one container on one node.

    :param verb: ``check`` asks an untouched container whether it answers; ``run`` is a job's.
    :param after: ids of the actions that come first; those that are not planned count as done.
    """

    id: str
    verb: Verb
    node: str
    name: str
    why: str
    after: frozenset[str]
    wanted: Rendered | None = None
    actual: Actual | None = None


def plan(
    wanted: Sequence[Rendered],
    actual: Mapping[str, NodeState],
    again: Mapping[str, str] | None = None,
) -> list[Action]:
    """What has to be done, and nothing else.

    :param actual: by node name.
    :param again: reasons to run jobs that were done, by id (node/container).
    :raises DeployError: when a container comes after one that nobody deploys.
    """
    places: dict[str, list[Rendered]] = {}
    for item in wanted:
        places.setdefault(item.name, []).append(item)
    after = {_id(item.node, item.name): _after(item, places) for item in wanted}
    reasons = {
        _id(item.node, item.name): _reason(item, wanted, actual)
        or (again or {}).get(_id(item.node, item.name), "")
        for item in wanted
        if item.spec.is_job
    }
    _cascade(wanted, reasons, after, actual)
    _one_after_the_other(wanted, actual, after)
    _through_what_is_done(after, {id for id, reason in reasons.items() if not reason})
    actions = []
    for item in wanted:
        id = _id(item.node, item.name)
        found = actual[item.node].containers.get(item.name)
        if item.spec.is_job:
            if reasons[id]:
                actions.append(
                    Action(
                        id,
                        "run",
                        item.node,
                        item.name,
                        reasons[id],
                        frozenset(after[id]),
                        item,
                        found,
                    )
                )
            continue
        verb, why = _container(item, found)
        follows = frozenset(after[id])
        actions.append(Action(id, verb, item.node, item.name, why, follows, item, found))
    known = {_id(item.node, item.name) for item in wanted}
    for node, state in actual.items():
        for name, found in state.containers.items():
            if _id(node, name) not in known:
                why = "the topology no longer has it"
                actions.append(
                    Action(_id(node, name), "remove", node, name, why, frozenset(), None, found)
                )
    return actions


def _id(node: str, name: str) -> str:
    return f"{node}/{name}"


def _after(item: Rendered, places: Mapping[str, list[Rendered]]) -> set[str]:
    """What `item` waits for: all members of a cluster, of others the one that is nearest."""
    ids: set[str] = set()
    for name in item.spec.after:
        if name in places:
            found = places[name]
            if not (found[0].spec.cluster or found[0].spec.each):
                found = [one for one in found if one.node == item.node] or found[:1]
            ids.update(_id(one.node, name) for one in found)
        elif not any(name in service.containers for service in catalogue().values()):
            raise DeployError(
                f"{item.service}: {item.name} comes after {name}, which no service has"
            )
    return ids


def _through_what_is_done(after: dict[str, set[str]], done: set[str]) -> None:
    """Whoever waits for a job that was done waits for what that came after.

    Otherwise an API whose schema is there would be asked before its database is started.
    """
    while any(before & done for before in after.values()):
        for before in after.values():
            for job in before & done:
                before.remove(job)
                before |= after[job]


def _one_after_the_other(
    wanted: Sequence[Rendered], actual: Mapping[str, NodeState], after: dict[str, set[str]]
) -> None:
    """What is replaced on several nodes goes on: each waits until the one before answers.

    The first waits for those that are brought back: two of three must not be away at once.
    """
    last: dict[str, str] = {}
    back: dict[str, set[str]] = {}
    for item in wanted:
        verb, _ = _container(item, actual[item.node].containers.get(item.name))
        if not item.spec.is_job and verb in ("create", "start"):
            back.setdefault(item.name, set()).add(_id(item.node, item.name))
    for item in wanted:
        found = actual[item.node].containers.get(item.name)
        if item.spec.is_job or _container(item, found)[0] != "replace":
            continue
        if found is None or found.state != "running":
            continue  # It serves nobody, and may be what its neighbours wait for.
        id = _id(item.node, item.name)
        after[id] |= back.get(item.name, set())
        if item.name in last:
            after[id].add(last[item.name])
        last[item.name] = id


def _container(item: Rendered, found: Actual | None) -> tuple[Verb, str]:
    if found is None:
        return "create", "it is not there"
    if found.hash != item.hash:
        return "replace", "its image or configuration changed"
    if found.state != "running":
        return "start", f"it is {found.state}"
    return "check", "untouched: does it answer?"


def _reason(item: Rendered, wanted: Sequence[Rendered], actual: Mapping[str, NodeState]) -> str:
    """Why a job has to run; empty if it was done."""
    state = actual[item.node]
    found = state.containers.get(item.name)
    volume = item.spec.creates_volume
    if volume:
        if _in_use(item, wanted, actual):
            return ""
        if found and volume not in state.volumes:
            return f"the volume {volume} is gone"
        # Data that is there stays, whatever image would make it today.
        if found and found.exit_code == 0:
            return ""
    elif _done(item, actual):
        return ""
    if not any(one.hashes(item.name) for one in actual.values()) and found is None:
        return "it did not run yet"
    if found and found.exit_code != 0:
        return "it did not finish"
    return "its image or configuration changed" if not volume else "it did not run yet"


def _done(item: Rendered, actual: Mapping[str, NodeState]) -> bool:
    """Whether a job was done: as its own container tells, else as any other node knows."""
    own = actual[item.node].containers.get(item.name)
    if own or item.spec.each:
        return own is not None and own.exit_code == 0 and own.hash == item.hash
    return any(item.hash in one.hashes(item.name) for one in actual.values())


def _in_use(item: Rendered, wanted: Sequence[Rendered], actual: Mapping[str, NodeState]) -> bool:
    """Whether what a job would make is there, on some node, with what runs on it."""
    users = {one.name for one in wanted if item.name in one.spec.after and not one.spec.is_job}
    return any(
        item.spec.creates_volume in state.volumes and users & state.containers.keys()
        for state in actual.values()
    )


def _cascade(
    wanted: Sequence[Rendered],
    reasons: dict[str, str],
    after: Mapping[str, set[str]],
    actual: Mapping[str, NodeState],
) -> None:
    """A job that makes data anew makes every job after it, near or far, run again."""
    fresh = {
        _id(item.node, item.name)
        for item in wanted
        if item.spec.creates_volume
        and reasons.get(_id(item.node, item.name))
        and not _in_use(item, wanted, actual)
    }
    grown = True
    while grown:
        more = {id for id, before in after.items() if id not in fresh and before & fresh}
        fresh |= more
        grown = bool(more)
    for id in fresh & reasons.keys():
        reasons[id] = reasons[id] or "what it works on is new"
