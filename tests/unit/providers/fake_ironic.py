"""An Ironic and a Neutron that fit in a file: the shapes and words of Ironic 39, recorded.

A change takes effect step by step: each look at a machine is answered with its state, which then
moves on. The cases of ironic_cases.py pass with this and with the real one.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Body = dict[str, Any]
VERSIONS = {"X-OpenStack-Ironic-API-Minimum-Version": "1.1"}


class Refused(Exception):
    """An HTTP status, and Ironic's words."""


class FakeIronic:
    """See ironic_cases.Lab; with the machines and ports open to tests."""

    def __init__(self) -> None:
        self.cloud = "lab"
        self.image, self.checksum = "http://192.0.2.1/image.raw", "ab" * 32
        self.machines: dict[str, Body] = {}
        self.allocations: dict[str, Body] = {}
        self.ports: dict[str, Body] = {}
        self.vifs: dict[str, list[str]] = {}
        self.config_drives: dict[str, Body] = {}
        self.subnet: str | None = "198.51.100"
        self._next: dict[str, list[Callable[[], None]]] = {}
        self._clock = 0

    def enroll(self, name: str, resource_class: str, deploy_interface: str) -> None:
        """See ironic_cases.Lab."""
        ident = str(uuid.uuid4())
        self.vifs[ident] = []
        self.machines[ident] = {
            "uuid": ident,
            "name": name,
            "resource_class": resource_class,
            "deploy_interface": deploy_interface,
            "provision_state": "available",
            "power_state": "power off",
            "target_power_state": None,
            "maintenance": False,
            "last_error": None,
            "instance_info": {},
            "instance_uuid": None,
            "allocation_uuid": None,
            "provision_updated_at": "0",
        }

    def named(self, name: str) -> Body:
        """The machine called `name`."""
        return next(each for each in self.machines.values() if each["name"] == name)

    # What the API does, by method and path.

    def get_versions(self, base: str) -> Body:
        version = {
            "id": "v1",
            "links": [{"href": f"{base}/v1/", "rel": "self"}],
            "status": "CURRENT",
            "min_version": "1.1",
            "version": "1.115",
        }
        return {"name": "OpenStack Ironic API", "default_version": version, "versions": [version]}

    def get_neutron(self, base: str) -> Body:
        link = {"href": f"{base}/networking/v2.0/", "rel": "self"}
        return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}

    def list_nodes(self, query: dict[str, str]) -> Body:
        found = list(self.machines.values())
        for key in ("resource_class", "provision_state"):
            if key in query:
                found = [each for each in found if each[key] == query[key]]
        if query.get("associated", "").lower() == "false":
            found = [each for each in found if not each["instance_uuid"]]
        return {"nodes": found}

    def get_node(self, ident: str) -> Body:
        machine = self._machine(ident)
        seen = dict(machine)
        if steps := self._next.get(machine["uuid"]):
            steps.pop(0)()
        return seen

    def patch_node(self, ident: str, patch: list[Body]) -> Body:
        machine = self._machine(ident)
        for change in patch:
            *parents, key = change["path"].strip("/").split("/")
            target = machine[parents[0]] if parents else machine
            if change["op"] == "remove":
                del target[key]
            else:
                target[key] = change["value"]
        return machine

    def provision(self, ident: str, body: Body) -> None:
        machine = self._machine(ident)
        ident, state = machine["uuid"], machine["provision_state"]
        allowed = {
            "active": ("available", "deploy failed"),
            "deleted": ("active", "deploy failed", "wait call-back", "error"),
        }
        if state not in allowed[body["target"]]:
            raise Refused(
                400,
                f'The requested action "{body["target"]}" can not be performed on node "{ident}" '
                f'while it is in state "{state}".',
            )
        if body["target"] == "deleted":
            self._set(machine, provision_state="deleting")
            self._next[ident] = [lambda: None, lambda: self._free(machine)]
            return
        info = machine["instance_info"]
        agent = machine["deploy_interface"] == "direct"
        if agent and not info.keys() & {"image_checksum", "image_os_hash_value"}:
            raise Refused(
                400,
                f"Failed to validate deploy or power info for node {ident}: image_source's "
                '"image_checksum", or "image_os_hash_algo" and "image_os_hash_value" must be '
                f"provided in instance_info for node {ident}",
            )
        info["configdrive"] = "******"
        self.config_drives[machine["name"]] = body["configdrive"]
        self._set(machine, provision_state="deploying", last_error=None)
        if agent and info["image_source"].endswith(".none"):
            self._fail(
                machine,
                "Failed to prepare to deploy: Validation of image href "
                f"{info['image_source']} failed, reason: Got HTTP code 404 instead of 200 in "
                "response to HEAD request.",
            )
        elif agent:
            self._fail(
                machine,
                f"Timeout reached while waiting for callback for node {ident}",
                "wait call-back",
            )
        else:
            self._next[ident] = [lambda: self._set(machine, provision_state="active")]

    def power(self, ident: str, body: Body) -> None:
        machine = self._machine(ident)
        machine["target_power_state"] = body["target"]
        after = "power off" if body["target"] == "power off" else "power on"
        self._next[machine["uuid"]] = [
            lambda: machine.update(power_state=after, target_power_state=None)
        ]

    def create_allocation(self, body: Body) -> Body:
        if any(each["name"] == body["name"] for each in self.allocations.values()):
            raise Refused(409, f"An allocation with name {body['name']} already exists.")
        ident = str(uuid.uuid4())
        made = {**body, "uuid": ident, "state": "allocating", "node_uuid": None, "last_error": None}
        self.allocations[ident] = made
        return dict(made)

    def list_allocations(self, query: dict[str, str]) -> Body:
        for ident in list(self.allocations):
            self.get_allocation(ident)
        found = self.allocations.values()
        wanted = query.get("resource_class")
        return {"allocations": [each for each in found if wanted in (None, each["resource_class"])]}

    def get_allocation(self, ident: str) -> Body:
        if ident not in self.allocations:
            raise Refused(404, f"Allocation {ident} could not be found.")
        allocation = self.allocations[ident]
        seen = dict(allocation)
        if allocation["state"] == "allocating":
            query = {"resource_class": allocation["resource_class"], "associated": "False"}
            free = self.list_nodes({**query, "provision_state": "available"})["nodes"]
            if free:
                free[0].update(instance_uuid=ident, allocation_uuid=ident)
                allocation.update(state="active", node_uuid=free[0]["uuid"])
            else:
                allocation["state"] = "error"
                allocation["last_error"] = (
                    f"Failed to process allocation {ident}: no available nodes match the resource "
                    f"class {allocation['resource_class']}."
                )
        return seen

    def delete_allocation(self, ident: str) -> None:
        self.get_allocation(ident)
        allocation = self.allocations.pop(ident)
        if allocation["node_uuid"]:
            self._machine(allocation["node_uuid"]).update(instance_uuid=None, allocation_uuid=None)

    def get_vifs(self, ident: str) -> Body:
        return {"vifs": [{"id": each} for each in self.vifs[self._machine(ident)["uuid"]]]}

    def attach_vif(self, ident: str, body: Body) -> None:
        self.vifs[self._machine(ident)["uuid"]].append(body["id"])

    # Neutron's.

    def list_ports(self, query: dict[str, str]) -> Body:
        return {
            "ports": [
                port
                for port in self.ports.values()
                if all(port[key] == query[key] for key in ("name", "description") if key in query)
            ]
        }

    def create_port(self, body: Body) -> Body:
        number = len(self.ports) + 10
        fixed = [{"ip_address": "2001:db8::1", "subnet_id": "six"}]
        if self.subnet:
            fixed.append({"ip_address": f"{self.subnet}.{number}", "subnet_id": "four"})
        port = {**body["port"], "id": str(uuid.uuid4()), "fixed_ips": fixed}
        self.ports[port["id"]] = port
        return {"port": port}

    def delete_port(self, ident: str) -> None:
        del self.ports[ident]

    def _machine(self, ident: str) -> Body:
        for machine in self.machines.values():
            if ident in (machine["uuid"], machine["name"]):
                return machine
        raise Refused(404, f"Node {ident} could not be found.")

    def _set(self, machine: Body, **changes: Any) -> None:
        self._clock += 1
        machine.update(changes, provision_updated_at=str(self._clock))

    def _fail(self, machine: Body, words: str, *before: str) -> None:
        steps = [{"provision_state": state} for state in before]
        steps.append({"provision_state": "deploy failed", "last_error": words})
        self._next[machine["uuid"]] = [
            lambda step=step: self._set(machine, **step)  # type: ignore[misc]
            for step in steps
        ]

    def _free(self, machine: Body) -> None:
        self.allocations.pop(machine["allocation_uuid"])
        self.vifs[machine["uuid"]].clear()
        self._set(
            machine,
            provision_state="available",
            instance_uuid=None,
            allocation_uuid=None,
            instance_info={},
            last_error=None,
        )


#: Method, path, what answers it, the status.
ROUTES = (
    ("GET", r"/v1/nodes(?:/detail)?", "list_nodes", 200),
    ("GET", r"/v1/nodes/([^/]+)", "get_node", 200),
    ("PATCH", r"/v1/nodes/([^/]+)", "patch_node", 200),
    ("PUT", r"/v1/nodes/([^/]+)/states/provision", "provision", 202),
    ("PUT", r"/v1/nodes/([^/]+)/states/power", "power", 202),
    ("GET", r"/v1/nodes/([^/]+)/vifs", "get_vifs", 200),
    ("POST", r"/v1/nodes/([^/]+)/vifs", "attach_vif", 204),
    ("GET", r"/v1/allocations", "list_allocations", 200),
    ("POST", r"/v1/allocations", "create_allocation", 201),
    ("GET", r"/v1/allocations/([^/]+)", "get_allocation", 200),
    ("DELETE", r"/v1/allocations/([^/]+)", "delete_allocation", 204),
    ("GET", r"/networking/v2.0/ports", "list_ports", 200),
    ("POST", r"/networking/v2.0/ports", "create_port", 201),
    ("DELETE", r"/networking/v2.0/ports/([^/]+)", "delete_port", 204),
)


@contextmanager
def serve(fake: FakeIronic) -> Iterator[str]:
    """Its URL, without an authentication."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Without it headers and body wait 40 ms for each other.
        disable_nagle_algorithm = True

        def answer(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            base = f"http://127.0.0.1:{self.server.server_address[1]}"
            with lock:
                try:
                    status, found = self.routed(url.path.rstrip("/"), url.query, body, base)
                except Refused as refused:
                    status, words = refused.args
                    # Twice encoded: this is what the real one does.
                    fault = {"faultcode": "Client", "faultstring": words, "debuginfo": None}
                    found = {"error_message": json.dumps(fault)}
                data = b"" if found is None else json.dumps(found).encode()
            self.send_response(status)
            version = self.headers.get("X-OpenStack-Ironic-API-Version", "1.1")
            for key, value in VERSIONS.items():
                self.send_header(key, value)
            self.send_header("X-OpenStack-Ironic-API-Maximum-Version", "1.115")
            self.send_header("X-OpenStack-Ironic-API-Version", version)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def routed(self, path: str, query: str, body: Any, base: str) -> tuple[int, Body | None]:
            if path == "":
                return 200, fake.get_versions(base)
            if path == "/v1":
                return 200, {"id": "v1", "version": fake.get_versions(base)["default_version"]}
            if path == "/networking":
                return 200, fake.get_neutron(base)
            for method, pattern, name, status in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and method == self.command:
                    arguments = list(match.groups())
                    if name.startswith("list_"):
                        arguments.append({key: each[0] for key, each in parse_qs(query).items()})
                    if body is not None:
                        arguments.append(body)
                    return status, getattr(fake, name)(*arguments)
            raise Refused(404, f"{self.command} {path}")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
