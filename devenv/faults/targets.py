"""Which nodes somebody means: by name, by role, or by what they do at this moment."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from devenv.core.errors import InputError, NodeError
from devenv.nodes.connection import Connection
from devenv.providers.base import Inventory

STATES = ("vip-holder", "db-primary", "one", "minority", "majority", "all")
#: Seconds for a question to a node; one that needs more is dead for us.
_PATIENCE = 5
_PRIMARY = (
    "mariadb", "--defaults-file=/var/lib/mysql-client.cnf", "--connect-timeout", "5",
    "--batch", "--skip-column-names", "--execute", "SELECT @@wsrep_node_name", "--host",
)  # fmt: skip


def resolve(words: str, inventory: Inventory, connections: Mapping[str, Connection]) -> list[str]:
    """The names of the nodes that `words` mean, each once; several words with commas between.

    A word is a node's name, a role (``control``, ``compute``, ``network``) or a state:

    - ``vip-holder``: the node that has the virtual IP;
    - ``db-primary``: the node whose database answers behind the virtual IP;
    - ``one``: a control node without the virtual IP, the last of them;
    - ``minority``, ``majority``: as many control nodes, those without the virtual IP first;
    - ``all``: all control nodes.

    Nodes that do not answer are not asked.

    :raises InputError: when a word means nothing, or no node.
    :raises NodeError: when no node is in that state, or more than one is.
    """
    chosen: dict[str, None] = {}
    for word in (one.strip() for one in words.split(",")):
        chosen.update(dict.fromkeys(_resolve(word, inventory, connections)))
    return list(chosen)


def _resolve(word: str, inventory: Inventory, connections: Mapping[str, Connection]) -> list[str]:
    names = [node.name for node in inventory.nodes]
    if word in names:
        return [word]
    if with_role := inventory.with_role(word):
        return [node.name for node in with_role]
    control = [node.name for node in inventory.with_role("control")]
    if word == "all":
        return control
    if word == "vip-holder":
        return [vip_holder(inventory, connections)]
    if word == "db-primary":
        return [db_primary(inventory, connections)]
    if word in STATES:
        counts = {"one": 1, "minority": (len(control) - 1) // 2, "majority": len(control) // 2 + 1}
        if not 0 < counts[word] <= len(control):
            raise InputError(f"{len(control)} control nodes have no {word}")
        holders = _holders(inventory, connections) if len(control) > 1 else []
        # The last first, and whoever has the virtual IP at the very end.
        order = sorted(control, key=lambda name: (name in holders, -control.index(name)))
        return sorted(order[: counts[word]], key=control.index)
    known = [*names, *sorted({role for node in inventory.nodes for role in node.roles}), *STATES]
    near = difflib.get_close_matches(word, known, n=1)
    raise InputError(
        f"no node, role or state is called {word!r}"
        + (f"; did you mean {near[0]}?" if near else ""),
        remedy=f"one of: {', '.join(known)}",
    )


def vip_holder(inventory: Inventory, connections: Mapping[str, Connection]) -> str:
    """The node that has the virtual IP.

    :raises NodeError: when none that answers has it, or more than one.
    """
    holders = _holders(inventory, connections)
    if len(holders) == 1:
        return holders[0]
    who = f"{' and '.join(holders)} have" if holders else "no control node that answers has"
    raise NodeError(f"{who} the virtual IP {inventory.vip}", remedy="devenv status")


def db_primary(inventory: Inventory, connections: Mapping[str, Connection]) -> str:
    """The node whose database answers behind the virtual IP.

    :raises NodeError: when none answers, or none of that name is there.
    """
    control = [node.name for node in inventory.with_role("control")]
    if len(control) == 1:
        return control[0]
    said = ""
    for name in _alive(control, connections):
        try:
            container = connections[name].docker.containers.get("mariadb")
            code, output = container.exec_run([*_PRIMARY, str(inventory.vip)])
        except Exception as error:  # Not there, or not running: another may be.
            said = f"{name}: {error}"
            continue
        answer = str(output.decode(errors="replace")).strip()
        if code == 0 and answer in control:
            return answer
        said = f"{name}: {answer}"
    raise NodeError(
        f"the database behind {inventory.vip} does not say which node it is on",
        detail=said or None,
        remedy="devenv logs mariadb",
    )


def has_address(fib_trie: str, address: str) -> bool:
    """Whether /proc/net/fib_trie has `address` as one of the machine's own."""
    return bool(re.search(rf"\|-- {re.escape(address)}\n\s+/32 host LOCAL", fib_trie))


def _holders(inventory: Inventory, connections: Mapping[str, Connection]) -> list[str]:
    """The control nodes that have the virtual IP, as their kernels tell."""
    control = [node.name for node in inventory.with_role("control")]
    told = _ask([name for name in control if name in connections], connections,
                ["cat", "/proc/net/fib_trie"])  # fmt: skip
    return [name for name, text in told.items() if has_address(text, str(inventory.vip))]


def _alive(names: list[str], connections: Mapping[str, Connection]) -> list[str]:
    return list(_ask([name for name in names if name in connections], connections, ["true"]))


def _ask(
    names: list[str], connections: Mapping[str, Connection], command: list[str]
) -> dict[str, str]:
    """What `command` prints on each node that answers."""

    def ask(name: str) -> str | None:
        try:
            done = connections[name].run(command, check=False, timeout=_PATIENCE)
        except NodeError:
            return None
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None

    with ThreadPoolExecutor(max_workers=max(len(names), 1)) as pool:
        told = dict(zip(names, pool.map(ask, names), strict=True))
    return {name: text for name, text in told.items() if text is not None}
