"""Scripts of services' images, run with their paths in a folder and programs that write down."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SERVICES = Path(__file__).parents[3] / "devenv" / "services"

#: Writes down its name and arguments, one line a call, and then does what `BODY` says.
STUB = """#!/bin/bash
printf '%s\\n' "${{0##*/}}${{*:+ $*}}" >> "$CALLS"
{body}
"""


class Machine:
    """A root in which a script finds its paths, and a folder of programs first on its PATH.

    :param paths: absolute paths of the script that are looked for below the root instead.
    """

    def __init__(self, root: Path, *paths: str) -> None:
        self.root = root
        self._paths = paths
        self._calls = root / "calls"
        for path in paths:
            self.path(path).mkdir(parents=True, exist_ok=True)
        (root / "programs").mkdir()

    def path(self, inside: str) -> Path:
        """Where the script's path is."""
        return self.root / inside.lstrip("/")

    def program(self, name: str, body: str = "") -> None:
        """A program on the PATH, or at an absolute path."""
        path = self.path(name) if name.startswith("/") else self.root / "programs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STUB.format(body=self.moved(body)))
        path.chmod(0o755)

    def moved(self, text: str) -> str:
        """`text` with the paths as they are here."""
        for path in self._paths:
            text = text.replace(path, f"{self.root}{path}")
        return text

    def script(self, service: str, name: str, inside: str) -> Path:
        """A script of a service's image, with its paths moved, at `inside`."""
        text = (SERVICES / service / "image" / name).read_text()
        assert all(path in text for path in self._paths), "the script has other paths now"
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.moved(text))
        path.chmod(0o755)
        return path

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command; its programs' calls are forgotten before."""
        self._calls.unlink(missing_ok=True)
        return subprocess.run(
            [*map(str, command)],
            env={
                "PATH": f"{self.root / 'programs'}:{os.environ['PATH']}",
                "CALLS": str(self._calls),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )

    @property
    def calls(self) -> list[str]:
        """What the programs were called with, with paths as the script has them."""
        text = self._calls.read_text() if self._calls.exists() else ""
        return text.replace(f"{self.root}/", "/").splitlines()
