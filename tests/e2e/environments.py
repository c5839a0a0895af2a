"""The command as the tests run it, for environments with names of their own."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

#: Lines of output and of the journal that a failure shows.
TAIL = 60


@dataclass
class Devenv:
    """The command for one environment: ``devenv("up")`` runs ``devenv --name NAME up``.

    :param home: where its state, clouds.yaml and logs are. The cache of images is everybody's.
    """

    name: str
    home: Path
    variables: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def __call__(
        self, *arguments: str | Path, code: int | None = 0, timeout: float = 1200
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to its end.

        :param code: the exit code that it must have; None for any.
        :param timeout: seconds; after them the command is killed and the test fails.
        """
        __tracebackhide__ = True
        begin = time.monotonic()
        process, out, err = self.start(*arguments)
        try:
            got: int | str = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            got = f"nothing within {timeout:.0f} s"
        done = subprocess.CompletedProcess(
            process.args, process.returncode, out.read_text(), err.read_text()
        )
        print(f"{self._line(arguments)}: {got} after {time.monotonic() - begin:.1f} s")  # noqa: T201
        if code is not None and got != code:
            raise AssertionError(
                f"`{self._line(arguments)}` ended with {got}, not {code}\n"
                f"{last(done.stderr)}\n--- stdout\n{last(done.stdout)}"
            )
        return done

    def start(self, *arguments: str | Path) -> tuple[subprocess.Popen[bytes], Path, Path]:
        """Start the command and leave it running; its stdout and stderr grow in two files."""
        self.runs += 1
        out, err = (self.home / f"{self.name}-{self.runs}.{name}" for name in ("out", "err"))
        # Files and not pipes: what outlives the command must not keep the test waiting.
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "devenv", "--name", self.name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=self.environ,
                cwd=self.home,
            )
        return process, out, err

    @property
    def environ(self) -> dict[str, str]:
        """The variables that the command, and a client of its cloud, run with."""
        return {
            **os.environ,
            "DEVENV_HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "OS_CLIENT_CONFIG_FILE": str(self.home / "config/openstack/clouds.yaml"),
            **self.variables,
        }

    def journal(self) -> str:
        """The last lines of the environment's journal; `down` removes it."""
        file = self.home / "environments" / self.name / "journal.jsonl"
        return last(file.read_text()) if file.exists() else ""

    def _line(self, arguments: tuple[str | Path, ...]) -> str:
        return shlex.join(["devenv", "--name", self.name, *map(str, arguments)])


def last(text: str) -> str:
    """The last lines of `text`."""
    return "\n".join(text.rstrip().splitlines()[-TAIL:])


class Environments:
    """Makes :class:`Devenv` commands, and at the end runs `down` for each that was made."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._made: list[Devenv] = []

    def __call__(self, **variables: str) -> Devenv:
        """The command for an environment with a name of its own; nothing is brought up yet."""
        self._made.append(Devenv(f"e2e-{secrets.token_hex(3)}", self._home, variables))
        return self._made[-1]

    def down(self) -> None:
        """Remove what was used; an environment that resists does not keep the others."""
        failures = []
        for devenv in self._made:
            if not devenv.runs:
                continue
            try:
                devenv("down", timeout=300)
            except AssertionError as error:
                failures.append(str(error))
        assert not failures, "\n".join(failures)
