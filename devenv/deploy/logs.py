"""The logs of several containers as one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue

from devenv.deploy.places import Place


def logs(places: list[Place], *, tail: int | None, follow: bool) -> Iterator[tuple[Place, bytes]]:
    """Lines of the containers' logs, without their ends; with `follow`, until all have ended.

    :param tail: how many of each container's last lines; None for all.
    """
    if not follow:
        for place in places:
            yield from ((place, line) for line in _lines(_log(place, tail, follow=False)))
        return
    # One thread a container: each of them waits most of the time.
    queue: SimpleQueue[tuple[Place, bytes | None]] = SimpleQueue()

    def read(place: Place) -> None:
        try:
            for line in _lines(_log(place, tail, follow=True)):
                queue.put((place, line))
        finally:
            queue.put((place, None))

    for place in places:
        threading.Thread(target=read, args=[place], daemon=True).start()
    running = len(places)
    while running:
        place, line = queue.get()
        if line is None:
            running -= 1
        else:
            yield place, line


def _log(place: Place, tail: int | None, *, follow: bool) -> Iterator[bytes]:
    container = place.connection.docker.containers.get(place.container.id)
    chunks: Iterator[bytes] = container.logs(
        stream=True, follow=follow, tail="all" if tail is None else tail
    )
    return chunks


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest
