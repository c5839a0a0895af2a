"""Heat's folder: its config, its lock, what it registers, and how its engine is asked."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from service_places import AIO, MULTINODE, SERVICES, render_all, renderer

from devenv.images import lock
from devenv.services.render import Place

HEAT = next(service for service in SERVICES if service.name == "heat")
REGISTER = HEAT.folder / "templates" / "register.py"
CONTROL = [node for node in MULTINODE.nodes if "control" in node.roles]


def config(place: Place, name: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(render_all(renderer(place))[name].files["heat.conf"].decode())
    return parser


def test_it_is_there_only_where_it_is_wanted() -> None:
    assert HEAT.optional
    others = [service for service in SERVICES if service.name != "heat"]
    assert not [one.name for one in others if "heat" in one.requires]


def test_every_controller_has_an_engine_of_its_own_name() -> None:
    found = {node.name: config(MULTINODE, f"{node.name}/heat_engine") for node in CONTROL}
    assert len(found) == 3
    for name, parsed in found.items():
        assert parsed["DEFAULT"]["host"] == name
        assert parsed["DEFAULT"]["transport_url"].count(":5672") == 3
        assert parsed["oslo_messaging_rabbit"]["rabbit_quorum_queue"] == "true"
    # What one engine encrypted the others read.
    assert len({parsed["DEFAULT"]["auth_encryption_key"] for parsed in found.values()}) == 1


@pytest.mark.parametrize("place", [AIO, MULTINODE], ids=["aio", "multinode"])
def test_the_engine_takes_its_key(place: Place) -> None:
    """It refuses to start with a key of another length (heat.common.config)."""
    parsed = config(place, f"{place.nodes[0].name}/heat_engine")
    assert len(parsed["DEFAULT"]["auth_encryption_key"]) in (16, 24, 32)


@pytest.mark.parametrize("place", [AIO, MULTINODE], ids=["aio", "multinode"])
def test_the_domains_administrator_is_who_was_registered(place: Place) -> None:
    first = place.nodes[0].name
    default = config(place, f"{first}/heat_engine")["DEFAULT"]
    items = render_all(renderer(place))
    wanted = json.loads(items[f"{first}/heat_register"].files["register.json"])
    assert wanted["domain"] == default["stack_user_domain_name"]
    assert wanted["domain_admin"] == {
        "name": default["stack_domain_admin"],
        "password": default["stack_domain_admin_password"],
    }
    # Both endpoints, and what servers are told, are behind the virtual IP.
    vip = place.vip
    assert wanted["endpoint"]["url"] == f"http://{vip}:8000/v1"
    assert default["heat_waitcondition_server_url"] == f"http://{vip}:8000/v1/waitcondition"
    register = json.loads(items[f"{first}/keystone_register"].files["register.json"])
    urls = {entry["type"]: entry["url"] for entry in register["endpoints"]}
    assert urls["orchestration"] == f"http://{vip}:8004/v1/%(project_id)s"


def test_no_two_apis_of_a_node_share_a_queue_of_replies() -> None:
    """They run under uwsgi, all of them, and the queue is named after host and process."""
    names = [
        spec.environment.get("OS_OSLO_MESSAGING_RABBIT__PROCESSNAME", "uwsgi")
        for spec in HEAT.containers.values()
        if spec.command.startswith("uwsgi")
    ]
    assert len(names) == len({*names, "uwsgi"}) - 1 == 2


#: An oslo.messaging with one server, on the node ctl2; what was asked is on standard output.
MESSAGING = """
from oslo_config import cfg
set_transport_defaults = lambda exchange: print("exchange", exchange)
class get_rpc_transport:
    def __init__(self, conf):
        conf.register_opt(cfg.BoolOpt("rpc_ping_enabled"))
        self.ping = conf.rpc_ping_enabled
    def cleanup(self): pass
class Target:
    def __init__(self, topic, server): self.name = f"{topic}.{server}"
class get_rpc_client:
    def __init__(self, transport, target, timeout):
        self.ping, self.name = transport.ping, target.name
    def call(self, context, method):
        if (self.name, method, self.ping) != ("engine.ctl2", "oslo_rpc_server_ping", True):
            raise TimeoutError(f"no answer from {self.name}")
        return "pong"
"""


@pytest.mark.parametrize(("node", "code"), [("ctl2", 0), ("ctl1", 1)])
def test_the_engine_of_the_node_is_asked_and_no_other(tmp_path: Path, node: str, code: int) -> None:
    item = render_all(renderer(MULTINODE))[f"{node}/heat_engine"]
    assert item.ready == "healthcheck_heat_engine"
    (tmp_path / "heat.conf").write_bytes(item.files["heat.conf"])
    (tmp_path / "oslo_messaging.py").write_text(MESSAGING)
    program = str(HEAT.folder / "image/healthcheck_heat_engine")
    done = subprocess.run(
        [sys.executable, program, "--config-file", str(tmp_path / "heat.conf")],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == code, done.stderr
    assert "exchange heat" in done.stdout
    assert (f"{node}: pong" in done.stdout) == (code == 0)
    assert (f"{node}: no answer from engine.{node}" in done.stderr) == (code == 1)


# -- the lock ------------------------------------------------------------------------------

LOCK = (HEAT.folder / "image/requirements.lock").read_text()
BASE = (lock.folder() / "requirements.lock").read_text()
PIN = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)


def test_the_layer_adds_to_the_base_and_replaces_nothing_of_it() -> None:
    assert "openstack-heat" in PIN.findall(LOCK)
    assert set(PIN.findall(LOCK)).isdisjoint(PIN.findall(BASE))


def test_what_the_layer_leaves_out_is_in_the_base() -> None:
    """What was found to be needed, and is not in this lock: uv lists it at the end."""
    needed = re.findall(r"^# ([a-z0-9-]+)$", LOCK.partition("excluded from the output:")[2], re.M)
    assert "oslo-messaging" in needed and len(needed) > 100
    assert set(needed) <= set(PIN.findall(BASE))


def test_both_locks_are_of_one_day() -> None:
    date = re.compile(r"--exclude-newer (\S+)")
    assert date.findall(LOCK)[:1] == date.findall(BASE)[:1] == [lock.EXCLUDE_NEWER]


def test_every_pin_has_hashes() -> None:
    blocks = [block for block in re.split(r"\n(?=[a-z0-9])", LOCK) if "==" in block]
    assert len(blocks) == len(PIN.findall(LOCK))
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


# -- what is registered --------------------------------------------------------------------


@dataclass
class Keystone:
    """What a keystone has; things by kind, role assignments by path, and what changed it."""

    things: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    changes: list[str] = field(default_factory=list)

    def named(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = [one for one in self.things[kind] if one.get("name") == name]
        return found


class Answers(BaseHTTPRequestHandler):
    """The part of the identity API that register.py uses."""

    keystone: Keystone

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        kind = url.path.rpartition("/")[2]
        if kind == "v3":
            version = {"id": "v3.14", "status": "stable", "links": []}
            self._answer(200, {"version": version})
            return
        wanted = {key: values[0] for key, values in parse_qs(url.query).items()}
        found = [one for one in self.keystone.things.get(kind, []) if wanted.items() <= one.items()]
        self._answer(200, {kind: found})

    def do_POST(self) -> None:
        kind = urlsplit(self.path).path.rpartition("/")[2]
        if kind == "tokens":
            token = {"methods": ["password"], "user": {"id": "u"}, "project": {"id": "p"},
                     "expires_at": "2999-01-01T00:00:00.000000Z", "catalog": []}  # fmt: skip
            self._body()
            self._answer(201, {"token": token}, **{"X-Subject-Token": "t"})
            return
        ((singular, fields),) = self._body().items()
        assert kind == f"{singular}s"
        things = self.keystone.things.setdefault(kind, [])
        made = {**fields, "id": f"{singular}-{len(things) + 1}"}
        things.append(made)
        self.keystone.changes.append(f"{singular} {made.get('name') or made.get('interface')}")
        self._answer(201, {singular: made})

    def do_PUT(self) -> None:
        self.keystone.assigned.add(self.path)
        self._answer(204, None)

    def do_PATCH(self) -> None:
        *_, kind, id = urlsplit(self.path).path.split("/")
        ((singular, fields),) = self._body().items()
        (thing,) = [one for one in self.keystone.things[kind] if one["id"] == id]
        if thing.items() & fields.items() != fields.items():
            self.keystone.changes.append(f"{singular} {id} {sorted(fields)}")
        thing.update(fields)
        self._answer(200, {singular: thing})

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return body

    def _answer(self, status: int, body: object, **headers: str) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def keystone() -> Iterator[tuple[Keystone, str]]:
    """A keystone as keystone's own jobs leave it, and its address."""
    known = Keystone(
        {
            "roles": [{"id": "role-admin", "name": "admin"}],
            "users": [{"id": "user-admin", "name": "admin", "domain_id": "default"}],
            "projects": [{"id": "project-admin", "name": "admin", "domain_id": "default"}],
        }
    )
    handler = type("Handler", (Answers,), {"keystone": known})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield known, f"http://127.0.0.1:{server.server_port}/v3"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def register(folder: Path, url: str, **changes: Any) -> None:
    item = render_all(renderer())["aio/heat_register"]
    wanted = {**json.loads(item.files["register.json"]), **changes}
    wanted["auth"]["auth_url"] = url
    file = folder / "register.json"
    file.write_text(json.dumps(wanted))
    subprocess.run(
        [sys.executable, str(REGISTER), str(file)], check=True, capture_output=True, timeout=30
    )


def test_the_domain_its_administrator_and_the_roles_are_made(
    keystone: tuple[Keystone, str], tmp_path: Path
) -> None:
    known, url = keystone
    register(tmp_path, url)

    domain = known.named("domains", "heat_user_domain")
    admin = known.named("users", "heat_domain_admin")
    assert admin["domain_id"] == domain["id"]
    owner = known.named("roles", "heat_stack_owner")
    assert known.named("roles", "heat_stack_user")
    assert known.assigned == {
        f"/v3/domains/{domain['id']}/users/{admin['id']}/roles/role-admin",
        f"/v3/projects/project-admin/users/user-admin/roles/{owner['id']}",
    }
    service = known.named("services", "heat-cfn")
    assert service["type"] == "cloudformation"
    assert {(one["interface"], one["service_id"]) for one in known.things["endpoints"]} == {
        (interface, service["id"]) for interface in ("public", "internal", "admin")
    }


def test_run_again_it_changes_nothing(keystone: tuple[Keystone, str], tmp_path: Path) -> None:
    known, url = keystone
    register(tmp_path, url)
    known.changes.clear()
    register(tmp_path, url)
    assert known.changes == []


def test_what_differs_is_put_right(keystone: tuple[Keystone, str], tmp_path: Path) -> None:
    known, url = keystone
    register(tmp_path, url)
    known.named("users", "heat_domain_admin")["password"] = "another"
    known.changes.clear()
    moved = {"type": "cloudformation", "name": "heat-cfn", "url": "http://192.0.2.1:8000/v1"}
    register(tmp_path, url, endpoint=moved)

    assert {one["url"] for one in known.things["endpoints"]} == {moved["url"]}
    assert len(known.things["endpoints"]) == 3
    default = config(AIO, "aio/heat_engine")["DEFAULT"]
    admin = known.named("users", "heat_domain_admin")
    assert admin["password"] == default["stack_domain_admin_password"]
