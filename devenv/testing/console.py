"""What a guest says on its console: lines of the form ``devenv-guest: WORD key=value ...``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

_LINE = re.compile(r"devenv-guest: (\S+)(.*)$")


@dataclass(frozen=True)
class Heartbeat:
    """One second of a guest's life.

    :param seq: counts up by one from 1 at every boot.
    :param uptime: of the guest's kernel, in seconds.
    """

    seq: int
    uptime: float
    boot_id: str


@dataclass(frozen=True)
class Console:
    """A guest's console, oldest line first.

    :param metadata: what the guest read from the metadata service last, such as ``uuid``.
    """

    boots: tuple[str, ...]
    heartbeats: tuple[Heartbeat, ...]
    metadata: Mapping[str, str]

    def beats(self, boot_id: str) -> list[Heartbeat]:
        """The heartbeats of one boot."""
        return [beat for beat in self.heartbeats if beat.boot_id == boot_id]

    def missing(self, boot_id: str) -> list[int]:
        """The sequence numbers of a boot that are not there although a later one is.

        What is older than the oldest one counts only if the console starts with the boot:
        nova hands out the end of a long console.
        """
        seen = {beat.seq for beat in self.beats(boot_id)}
        if not seen:
            return []
        first = 1 if boot_id in self.boots else min(seen)
        return [seq for seq in range(first, max(seen)) if seq not in seen]

    def longest_pause(self, boot_id: str) -> float:
        """The most seconds of uptime between two heartbeats that follow each other."""
        pairs = pairwise(self.beats(boot_id))
        return max((later.uptime - earlier.uptime for earlier, later in pairs), default=0.0)


def parse(text: str) -> Console:
    """Read a console. Lines of others, and lines that were cut, are left out."""
    boots: list[str] = []
    beats: list[Heartbeat] = []
    metadata: dict[str, str] = {}
    for line in text.splitlines():
        found = _LINE.search(line)
        if not found:
            continue
        values = dict(part.split("=", 1) for part in found[2].split() if "=" in part)
        match found[1]:
            case "boot" if "boot_id" in values:
                boots.append(values["boot_id"])
            case "heartbeat":
                beat = _heartbeat(values)
                if beat:
                    beats.append(beat)
            case "metadata":
                metadata = values
    return Console(tuple(boots), tuple(beats), metadata)


def _heartbeat(values: Mapping[str, str]) -> Heartbeat | None:
    try:
        beat = Heartbeat(int(values["seq"]), float(values["uptime"]), values["boot_id"])
    except (KeyError, ValueError):
        return None
    return beat if len(beat.boot_id) == len("00000000-0000-0000-0000-000000000000") else None
