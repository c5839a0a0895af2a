"""A command in a container, on a person's own terminal or in a pipe."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from devenv.deploy.places import Place

_STDERR = 2


def run(place: Place, command: Sequence[str]) -> int:
    """Run `command` in the container with this process's stdin, stdout and stderr.

    With a terminal on both ends the command gets one, too, and Ctrl-C goes to the command.

    :returns: the command's exit code.
    :raises docker.errors.APIError: when the container is not running.
    """
    api = place.connection.docker.api
    live = sys.stdin.isatty() and sys.stdout.isatty()
    environment = {"TERM": os.environ.get("TERM", "xterm")} if live else None
    exec_id = api.exec_create(
        place.container.id, list(command), stdin=True, tty=live, environment=environment
    )["Id"]
    opened: Any = api.exec_start(exec_id, tty=live, socket=True)
    # The engine's first words may already be in the buffer that the answer's headers were read
    # through, so reading goes through that buffer; docker-py gives the socket below it.
    source: BinaryIO = opened._response.raw._fp.fp
    wire: socket.socket = opened._sock
    wire.settimeout(None)
    threading.Thread(target=_feed, args=[wire], daemon=True).start()
    if live:
        with _raw(lambda: _resize(api, exec_id)):
            while data := source.read1(65536):  # type: ignore[attr-defined]
                _write(1, data)
    else:
        for stream, data in _frames(source):
            _write(stream, data)
    return int(api.exec_inspect(exec_id)["ExitCode"] or 0)


def _feed(wire: socket.socket) -> None:
    """Hand stdin to the command, and its end, too."""
    with contextlib.suppress(OSError):
        while data := os.read(0, 65536):
            wire.sendall(data)
        wire.shutdown(socket.SHUT_WR)


def _frames(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Stream number and data, as the Engine API's attach has them (docs.docker.com/engine/api)."""
    while len(header := source.read(8)) == 8:
        stream, size = struct.unpack(">BxxxL", header)
        yield stream, source.read(size)


def _write(stream: int, data: bytes) -> None:
    file = sys.stderr if stream == _STDERR else sys.stdout
    file.buffer.write(data)
    file.buffer.flush()


@contextlib.contextmanager
def _raw(resize: Any) -> Iterator[None]:
    """The terminal hands on every key, and its size whenever that changes."""
    before = termios.tcgetattr(0)
    handler = signal.signal(signal.SIGWINCH, lambda *_: resize())
    try:
        tty.setraw(0)
        resize()
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)


def _resize(api: Any, exec_id: str) -> None:
    size = shutil.get_terminal_size()
    with contextlib.suppress(Exception):  # The command may just have ended.
        api.exec_resize(exec_id, height=size.lines, width=size.columns)
