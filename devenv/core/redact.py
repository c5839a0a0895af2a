"""Keeps secrets out of everything that is printed or written for people."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable

#: Shorter strings are not hidden: they would also hide parts of ordinary words.
SHORTEST = 6
MASK = "***"


class Redactor:
    """Replaces each known secret in a text by ``***``. Safe to share between threads.

    Secrets shorter than six characters are left as they are. Each line of a secret that has
    several (a private key) is a secret too: output is often indented or shown line by line.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide `secrets` (one string, or several) from now on."""
        with self._lock:
            for secret in [secrets] if isinstance(secrets, str) else secrets:
                parts = {secret, *(line.strip() for line in secret.splitlines())}
                self._secrets |= {part for part in parts if len(part) >= SHORTEST}
            if self._secrets:
                # The longest first, so that a secret within another leaves no rest of it.
                longest_first = sorted(self._secrets, key=len, reverse=True)
                self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        """`text` without the secrets."""
        pattern = self._pattern
        return pattern.sub(MASK, text) if pattern else text
