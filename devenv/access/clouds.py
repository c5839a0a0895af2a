"""The entry ``devenv-NAME`` in the user's clouds.yaml, without touching anything else in it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from devenv.core.errors import DevenvError
from devenv.services.render import REGION


@dataclass(frozen=True)
class Cloud:
    """How to log in to an environment's cloud as its administrator."""

    environment: str
    auth_url: str
    password: str

    @property
    def name(self) -> str:
        """The name for ``openstack --os-cloud``."""
        return f"devenv-{self.environment}"

    def entry(self) -> dict[str, object]:
        """The cloud's value in clouds.yaml (docs.openstack.org/openstacksdk, configuration)."""
        return {
            "auth": {
                "auth_url": self.auth_url,
                "username": "admin",
                "password": self.password,
                "project_name": "admin",
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": REGION,
            "identity_api_version": 3,
            "interface": "public",
        }

    def as_yaml(self) -> str:
        """A whole clouds.yaml with this cloud alone."""
        return yaml.safe_dump({"clouds": {self.name: self.entry()}}, sort_keys=False)

    def openrc(self) -> str:
        """The same as shell exports."""
        auth = self.entry()["auth"]
        values = {f"OS_{key.upper()}": value for key, value in dict(auth).items()}  # type: ignore[call-overload]
        values |= {
            "OS_REGION_NAME": REGION,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_INTERFACE": "public",
        }
        return "".join(f"export {key}='{value}'\n" for key, value in values.items())


def user_file() -> Path:
    """Where openstacksdk looks: ``$OS_CLIENT_CONFIG_FILE`` or ~/.config/openstack/clouds.yaml."""
    chosen = os.environ.get("OS_CLIENT_CONFIG_FILE")
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(chosen) if chosen else base / "openstack" / "clouds.yaml"


def add(cloud: Cloud, path: Path) -> None:
    """Put the cloud's entry into `path` (mode 0600), replacing only its own earlier one.

    :raises DevenvError: when the file is not YAML with a mapping ``clouds``.
    """
    path = path.resolve()  # a link, to where somebody keeps such files, stays one
    text = path.read_text() if path.exists() else ""
    text = _without(text, cloud.name) or "clouds:\n"
    try:
        clouds = (yaml.safe_load(text) or {}).get("clouds", False)
    except (yaml.YAMLError, AttributeError) as error:
        raise DevenvError(
            f"{path} is not a clouds.yaml: {error}", remedy="mend it or move it away"
        ) from error
    if clouds is False:
        text = text.rstrip("\n") + "\nclouds:\n"
    elif not clouds:
        text = re.sub(r"^clouds:[ ]*(\{\s*\}|null|~)", "clouds:", text, flags=re.MULTILINE)
    indent = _indent(text)
    body = yaml.safe_dump({cloud.name: cloud.entry()}, sort_keys=False, indent=2)
    block = [_mark(cloud.name, "begin"), *body.splitlines(), _mark(cloud.name, "end")]
    lines = text.splitlines()
    heads = [n for n, line in enumerate(lines) if re.match(r"clouds:\s*(#.*)?$", line)]
    if not heads or not isinstance(clouds or {}, dict):
        raise DevenvError(
            f"{path} has no line `clouds:` with its clouds below",
            remedy=f"write it so, or move it away: `devenv export clouds` has {cloud.name}",
        )
    lines[heads[0] + 1 : heads[0] + 1] = [indent + line for line in block]
    _write(path, "\n".join(lines) + "\n")


def remove(name: str, path: Path) -> bool:
    """Take the cloud's entry out of `path`; the file goes when nothing else is in it."""
    path = path.resolve()
    if not path.exists():
        return False
    text = path.read_text()
    rest = _without(text, name)
    if rest == text:
        return False
    if rest.strip() in ("", "clouds:"):
        path.unlink()
    else:
        _write(path, rest)
    return True


def _mark(name: str, which: str) -> str:
    return f"# {which} {name}: written by devenv, removed by `devenv down`"


def _without(text: str, name: str) -> str:
    begin, end = (re.escape(_mark(name, which)) for which in ("begin", "end"))
    return re.sub(rf"^[ ]*{begin}\n.*?^[ ]*{end}\n", "", text, flags=re.MULTILINE | re.DOTALL)


def _indent(text: str) -> str:
    """The indentation of the file's own entries, since all keys of a mapping must share it."""
    match = re.search(r"^clouds:[^\n]*\n(?:[ ]*#[^\n]*\n|\s*\n)*([ ]+)\S", text, flags=re.MULTILINE)
    return match.group(1) if match else "  "


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)
