"""forget_compute: a compute node that will not come back leaves nova, and its servers with it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keystoneauth1.adapter
import pytest
from image_scripts import SERVICES

CONF = """[DEFAULT]
use_journal = 10%
[service_user]
auth_url = http://172.30.0.10:5000
username = nova
password = s%cret
project_name = service
user_domain_name = Default
project_domain_name = Default
"""


class Nova:
    """Compute services and servers by host; a deleted server goes after some questions."""

    def __init__(self) -> None:
        self.services = {"cmp1": "s1", "cmp2": "s2", "cmp20": "s20"}
        self.servers = {"v1": "cmp1", "v2": "cmp2", "v3": "cmp2"}
        self.lingers = 2
        self.did: list[str] = []
        self._leaving: dict[str, int] = {}

    def get(self, url: str) -> Any:
        path, _, query = url.partition("?")
        asked = dict(pair.split("=") for pair in query.split("&"))
        if path == "/os-services":
            assert asked["binary"] == "nova-compute"
            # A filter that says too much rather than too little.
            found = [
                {"id": id, "host": host}
                for host, id in self.services.items()
                if host.startswith(asked["host"])
            ]
            return self._json({"services": found})
        assert (path, asked["all_tenants"]) == ("/servers", "1")
        for server, left in list(self._leaving.items()):
            self._leaving[server] = left - 1
            if left == 0:
                del self.servers[server], self._leaving[server]
        here = [name for name, host in self.servers.items() if host == asked["host"]]
        return self._json({"servers": [{"id": name, "name": f"name of {name}"} for name in here]})

    def put(self, url: str, json: dict[str, Any]) -> None:
        self.did.append(f"put {url} {json}")

    def delete(self, url: str) -> None:
        self.did.append(f"delete {url}")
        kind, id = url.strip("/").split("/")
        if kind == "servers":
            self._leaving[id] = self.lingers
        else:
            host = next(host for host, known in self.services.items() if known == id)
            assert host not in self.servers.values(), "nova refuses while servers are on it"
            del self.services[host]

    def _json(self, said: Any) -> Any:
        return SimpleNamespace(json=lambda: said)


@pytest.fixture
def nova(monkeypatch: pytest.MonkeyPatch) -> Nova:
    made = Nova()
    monkeypatch.setattr(keystoneauth1.adapter, "Adapter", lambda *_, **__: made)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return made


@pytest.fixture
def forget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the program about a host."""
    conf, program = tmp_path / "nova.conf", tmp_path / "forget_compute"
    conf.write_text(CONF)
    text = (SERVICES / "nova/image/forget_compute").read_text()
    assert text.count('"/etc/nova/nova.conf"') == 1
    program.write_text(text.replace("/etc/nova/nova.conf", str(conf)))

    def run(host: str) -> None:
        monkeypatch.setattr(sys, "argv", ["forget_compute", host])
        runpy.run_path(str(program), run_name="__main__")

    return run


def test_its_servers_go_and_then_its_service(nova: Nova, forget: Any) -> None:
    forget("cmp2")
    assert nova.did == [
        "put /os-services/s2 {'forced_down': True}",
        "delete /servers/v2",
        "delete /servers/v3",
        "delete /os-services/s2",
    ]
    assert nova.servers == {"v1": "cmp1"}
    assert nova.services.keys() == {"cmp1", "cmp20"}


def test_which_servers_were_lost_is_told(
    nova: Nova, forget: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    forget("cmp1")
    said = capsys.readouterr().out
    assert "server name of v1 was on cmp1 and is gone with it" in said
    assert "nova has forgotten cmp1" in said


def test_one_that_nova_never_knew_or_has_forgotten_is_nothing(nova: Nova, forget: Any) -> None:
    forget("cmp3")
    assert nova.did == []
    forget("cmp2")
    nova.did.clear()
    forget("cmp2")
    assert nova.did == []
