"""An environment as faults see it: its provider, nodes and connections that may break."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterable, Mapping

from devenv.core import paths
from devenv.core.errors import InputError, NodeError
from devenv.core.events import Events
from devenv.nodes.connection import Connection
from devenv.nodes.node import Node
from devenv.providers.base import Inventory, Provider

#: Every node listens there on its API address: the one thing that is asked of it.
SSH_PORT = 22
#: Prints those of its arguments (IPv4 addresses) whose sshd accepts a connection within a second.
_REACH = (
    "for a in {addresses}; do (timeout 1 bash -c ': > /dev/tcp/'$a'/{port}' 2>/dev/null "
    "&& echo $a) & done; wait"
)


class Site:
    """Where faults are injected and healed. Safe to share between threads.

    :param connections: those that are open; others are opened when they are needed. A node that
        was off is connected to again by its old connection, so whoever has that can go on.
    """

    def __init__(
        self,
        environment: str,
        provider: Provider,
        inventory: Inventory,
        connections: Mapping[str, Connection],
        events: Events,
    ) -> None:
        self.environment = environment
        self.provider = provider
        self.inventory = inventory
        self.events = events
        self._connections = dict(connections)
        self._own: list[Connection] = []
        self._lock = threading.Lock()

    def has(self, name: str) -> bool:
        """Whether there is such a node, be it on or off."""
        return any(node.name == name for node in self.inventory.nodes)

    def node(self, name: str) -> Node:
        """The node called `name`.

        :raises InputError: when there is none.
        """
        for node in self.inventory.nodes:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.inventory.nodes)
        raise InputError(
            f"there is no node {name!r} in environment {self.environment!r}",
            remedy=f"nodes: {names}",
        )

    def answers(self, name: str, timeout: int = 2) -> bool:
        """Whether one can log in to the node by a new SSH connection.

        A TCP connection would not do: the kernel accepts those for a node whose processes are
        all paused.

        :param timeout: seconds.
        """
        ssh = self.node(name).ssh
        # Of an option that is given twice ssh takes the first.
        command = ["ssh", "-o", f"ConnectTimeout={timeout}", *ssh.options(), "-S", "none"]
        try:
            done = subprocess.run(
                [*command, ssh.destination, "true"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=2 * timeout + 2,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode != 255  # ssh's own failures (ssh(1), EXIT STATUS)

    def connection(self, name: str) -> Connection:
        """The connection to a node, opened again if it broke.

        :raises NodeError: when SSH refuses.
        :raises WaitTimeout: when nothing answers.
        """
        connection = self._connection(name)
        try:
            connection.run(["true"], timeout=10)
            connection.docker.ping()
        except Exception:
            connection.open()
        return connection

    def reopen(self, name: str, timeout: float) -> Connection:
        """The connection to a node that was off: waits until SSH and the Docker Engine answer.

        :param timeout: seconds.
        """
        connection = self._connection(name)
        connection.open(timeout)
        return connection

    def _connection(self, name: str) -> Connection:
        node = self.node(name)
        with self._lock:
            if name not in self._connections:
                folder = paths.sockets(self.environment) / "faults"
                folder.mkdir(mode=0o700, exist_ok=True)
                self._connections[name] = Connection(node, folder)
                self._own.append(self._connections[name])
            return self._connections[name]

    def close(self) -> None:
        """Close the connections that were opened here."""
        for connection in self._own:
            with contextlib.suppress(OSError):
                connection.close()

    def reached(self, name: str, others: Iterable[str]) -> set[str]:
        """Those of `others` that the node `name` opens a TCP connection to within a second.

        :raises NodeError: when that cannot be told.
        """
        by_address = {self.node(other).address: other for other in others}
        line = _REACH.format(addresses=" ".join(by_address), port=SSH_PORT)
        done = self._connection(name).run(line, check=False, timeout=20)
        if done.returncode == 255:
            said = done.stderr.decode(errors="replace")
            raise NodeError("it could not be asked what it reaches", node=name, detail=said)
        return {by_address[line] for line in done.stdout.decode().split()}
