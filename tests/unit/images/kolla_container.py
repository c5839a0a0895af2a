"""A container's file system in a temporary folder, and the base image's scripts run in it."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

BASE = Path(__file__).parents[3] / "devenv" / "images" / "base"
CONFIG_FILES = "/var/lib/kolla/config_files"

#: Runs kolla_set_configs as a program does, in another root. Neither its arguments nor its
#: environment can say which: both belong to the service's user.
LAUNCHER = """
import pathlib, runpy, sys
script, root, *arguments = sys.argv[1:]
sys.exit(runpy.run_path(script)["main"](arguments, pathlib.Path(root)))
"""


def me() -> str:
    """This process's user and group, as config.json names owners."""
    return f"{pwd.getpwuid(os.getuid()).pw_name}:{grp.getgrgid(os.getgid()).gr_name}"


def somebody_else() -> tuple[pwd.struct_passwd, grp.struct_group]:
    """A user with a group of its own name, and a group, neither of them this process's."""
    names = {group.gr_name for group in grp.getgrall()}
    user = next(u for u in pwd.getpwall() if u.pw_uid != os.getuid() and u.pw_name in names)
    return user, next(g for g in grp.getgrall() if g.gr_gid not in (os.getgid(), user.pw_gid))


class Container:
    """A root with what the engine mounts into a container."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path(CONFIG_FILES).mkdir(parents=True)

    def path(self, inside: str) -> Path:
        """Where the container's path is."""
        return self.root / inside.lstrip("/")

    def write(self, inside: str, text: str, mode: int = 0o644) -> Path:
        """Make a file, and the folders above it."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def source(self, name: str, text: str, mode: int = 0o644) -> str:
        """Make a file of the mounted configuration; its path in the container."""
        self.write(f"{CONFIG_FILES}/{name}", text, mode)
        return f"{CONFIG_FILES}/{name}"

    def configure(self, *files: dict[str, Any], command: str = "sleep 1", **more: Any) -> None:
        """Write config.json; files belong to this user with mode 0640 if they do not say."""
        owned = [
            entry if entry.get("preserve_properties") else {"owner": me(), "perm": "0640", **entry}
            for entry in files
        ]
        config = {"command": command, "config_files": owned, **more}
        self.source("config.json", json.dumps(config))

    def set_configs(
        self, *arguments: str, strategy: str = "COPY_ALWAYS", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run kolla_set_configs."""
        return subprocess.run(
            [
                sys.executable,
                "-IS",
                "-c",
                LAUNCHER,
                BASE / "kolla_set_configs",
                self.root,
                *arguments,
            ],
            env={**os.environ, "KOLLA_CONFIG_STRATEGY": strategy, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def applied(self, **keywords: str) -> str:
        """Run kolla_set_configs, which must succeed; its log."""
        done = self.set_configs(**keywords)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def refused(self, *arguments: str, **keywords: str) -> str:
        """Run kolla_set_configs, which must fail with exit code 1; its log."""
        done = self.set_configs(*arguments, **keywords)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def mode(self, inside: str) -> int:
        """The permission bits of a path."""
        return self.path(inside).stat().st_mode & 0o7777

    def tree(self, inside: str) -> dict[str, str]:
        """The files below a path, with their content."""
        top = self.path(inside)
        return {
            str(path.relative_to(top)): path.read_text()
            for path in top.rglob("*")
            if path.is_file()
        }
