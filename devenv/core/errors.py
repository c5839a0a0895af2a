"""The errors that people see.

Each says what was attempted, on which node, what came back and what to do next.
A traceback is shown only with ``--debug``. The command's exit code is the error's.
"""

from __future__ import annotations

#: Exit codes of the ``devenv`` command.
EXIT_OK, EXIT_FAILED, EXIT_ERROR, EXIT_NOTHING_RAN, EXIT_ALL_SKIPPED = range(5)


class DevenvError(Exception):
    """Something that a person has to know, in words meant for that person.

    :param message: what was attempted and what came back, one sentence.
    :param node: the node that it happened on, if any.
    :param detail: output worth reading: the last log lines, a table.
    :param remedy: what to do next, a sentence or a command that can be pasted.
    """

    exit_code = EXIT_ERROR

    def __init__(
        self,
        message: str,
        *,
        node: str | None = None,
        detail: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.detail = detail
        self.remedy = remedy

    def __str__(self) -> str:
        head = f"{self.node}: {self.message}" if self.node else self.message
        parts = [head]
        if self.detail:
            parts.append("\n".join(f"    {line}" for line in self.detail.rstrip().splitlines()))
        if self.remedy:
            parts.append(f"  -> {self.remedy}")
        return "\n".join(parts)


class InputError(DevenvError):
    """The user's input cannot be used. Nothing was changed."""


class HostError(DevenvError):
    """This machine lacks something: an engine, memory, disk, a privilege."""


class NodeError(DevenvError):
    """A node did not answer, or a command on it failed."""


class NodeLost(NodeError):
    """A node answers no more. What is done on others goes on."""


class BuildError(DevenvError):
    """An image could not be built."""


class DeployError(DevenvError):
    """A step of a deploy failed. What was made is kept for inspection."""


class WaitTimeout(DevenvError):
    """A condition did not come true in time. The message holds the last thing seen."""


class Unsupported(DevenvError):
    """A provider cannot do this. Scenarios that need it are skipped with this reason."""
