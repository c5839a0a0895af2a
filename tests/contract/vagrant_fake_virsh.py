"""The `virsh` of the fakes: a method for each of its commands that the provider uses."""

from __future__ import annotations

import json
import time
import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

#: Exit code, standard output, standard error.
Answer = tuple[int, str, str]

_POOL = "/var/lib/libvirt/images"


class Virsh:
    """Domains, snapshots, networks, volumes and secrets."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    @property
    def domains(self) -> dict[str, Any]:
        """By name."""
        found: dict[str, Any] = self.state["domains"]
        return found

    def _version(self) -> Answer:
        return 0, "Compiled against library: libvirt 9.0.0\n", ""

    def _list(self, *options: str) -> Answer:
        if "--name" in options:
            return 0, "".join(f"{name}\n" for name in self.domains) + "\n", ""
        rows = []
        for number, (name, domain) in enumerate(self.domains.items(), 1):
            id = "-" if domain["state"] == "shut off" else str(number)
            rows.append(f" {id:<4} {name}   {domain['state']}\n")
        return 0, "".join(rows), ""

    def _missing(self, name: str) -> Answer:
        return 1, "", f"error: failed to get domain '{name}'\n"

    def _dumpxml(self, option: str, name: str) -> Answer:
        if name not in self.domains:
            return self._missing(name)
        domain = self.domains[name]
        root = ElementTree.Element("domain", type=domain["type"])
        ElementTree.SubElement(root, "name").text = name
        ElementTree.SubElement(root, "uuid").text = domain["uuid"]
        if domain["description"]:
            ElementTree.SubElement(root, "description").text = domain["description"]
        ElementTree.SubElement(root, "memory", unit="KiB").text = str(domain["memory"])
        return 0, ElementTree.tostring(root, "unicode") + "\n", ""

    def _domstate(self, name: str) -> Answer:
        return 0, f"{self.domains[name]['state']}\n", ""

    def _desc(self, name: str, *options: str) -> Answer:
        domain = self.domains[name]
        if "--live" in options and domain["state"] == "shut off":
            return 1, "", "error: Requested operation is not valid: domain is not running\n"
        domain["description"] = options[-1]
        return 0, "Domain description updated successfully\n", ""

    def _change(self, name: str, frm: set[str], to: str, boots: bool = False) -> Answer:
        if name not in self.domains:
            return self._missing(name)
        domain = self.domains[name]
        if domain["state"] not in frm:
            said = "error: Requested operation is not valid: domain is "
            return 1, "", said + ("already running\n" if boots else "not running\n")
        inactive = {
            name for name, net in self.state["networks"].items() if not net["active"]
        } & set(domain["networks"])
        if to == "running" and inactive:
            return 1, "", f"error: network '{inactive.pop()}' is not active\n"
        domain["state"] = to
        domain["boots"] += boots
        return 0, f"Domain '{name}' changed\n", ""

    def _start(self, name: str) -> Answer:
        return self._change(name, {"shut off"}, "running", boots=True)

    def _destroy(self, name: str) -> Answer:
        return self._change(name, {"running", "paused"}, "shut off")

    def _suspend(self, name: str) -> Answer:
        return self._change(name, {"running"}, "paused")

    def _resume(self, name: str) -> Answer:
        return self._change(name, {"paused"}, "running")

    def _reset(self, name: str) -> Answer:
        state = self.domains[name]["state"]
        return self._change(name, {"running", "paused"}, state, boots=True)

    def _undefine(self, name: str, *options: str) -> Answer:
        assert self.domains[name]["state"] == "shut off"
        del self.domains[name]
        return 0, f"Domain '{name}' has been undefined\n", ""

    def _setmaxmem(self, name: str, size: str, *options: str) -> Answer:
        assert self.domains[name]["state"] == "shut off" and size.endswith("b")
        self.domains[name]["memory"] = int(size[:-1]) // 1024
        return 0, "", ""

    _setmem = _setmaxmem

    def _setvcpus(self, name: str, count: str, *options: str) -> Answer:
        self.domains[name]["cpus"] = int(count)
        return 0, "", ""

    def _snapshot_list(self, name: str) -> Answer:
        rows = (
            f" {each}   {saved['at']} +0000   {saved['state']}\n"
            for each, saved in sorted(self.domains[name]["snapshots"].items())
        )
        return 0, "".join(rows), ""

    def _snapshot_create_as(self, name: str, snapshot: str, *options: str) -> Answer:
        domain = self.domains[name]
        saved = {key: value for key, value in domain.items() if key != "snapshots"}
        state = domain["state"].replace(" ", "")
        # Each is a second later than the last: what is real takes as long.
        made = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(10**9 + len(domain["snapshots"])))
        domain["snapshots"][snapshot] = {
            "at": made, "state": state, "saved": json.dumps(saved),
        }  # fmt: skip
        return 0, f"Domain snapshot {snapshot} created\n", ""

    def _snapshot_revert(self, name: str, snapshot: str, *options: str) -> Answer:
        domain = self.domains[name]
        found = domain["snapshots"][snapshot]
        domain.update(json.loads(found["saved"]))
        domain["state"] = "paused" if "--paused" in options else json.loads(found["saved"])["state"]
        return 0, "", ""

    def _net_list(self, *options: str) -> Answer:
        every = "--all" in options
        names = [name for name, net in self.state["networks"].items() if every or net["active"]]
        return 0, "".join(f"{name}\n" for name in names) + "\n", ""

    def _net_dumpxml(self, name: str) -> Answer:
        net = IPv4Network(self.state["networks"][name]["cidr"])
        ip = f"<ip address='{net[1]}' netmask='{net.netmask}'></ip>"
        return 0, f"<network><name>{name}</name>{ip}</network>\n", ""

    def _net_define(self, file: str) -> Answer:
        root = ElementTree.fromstring(Path(file).read_text())
        name, ip = root.findtext("name"), root.find("ip")
        assert name and ip is not None
        cidr = IPv4Network(f"{ip.get('address')}/{ip.get('netmask')}", strict=False)
        mode = root.find("forward")
        self.state["networks"][name] = {
            "cidr": str(cidr), "active": False, "forward": "" if mode is None else mode.get("mode"),
        }  # fmt: skip
        return 0, f"Network {name} defined from {file}\n", ""

    def _net_autostart(self, name: str) -> Answer:
        return 0, "", ""

    def _net_start(self, name: str) -> Answer:
        self.state["networks"][name]["active"] = True
        return 0, f"Network {name} started\n", ""

    def _net_destroy(self, name: str) -> Answer:
        self.state["networks"][name]["active"] = False
        return 0, f"Network {name} destroyed\n", ""

    def _net_undefine(self, name: str) -> Answer:
        del self.state["networks"][name]
        return 0, f"Network {name} has been undefined\n", ""

    def _pool_list(self, *options: str) -> Answer:
        pools = self.state["pools"]
        names = [name for name, active in pools.items() if active or "--all" in options]
        return 0, "".join(f"{name}\n" for name in names), ""

    def _pool_define_as(self, name: str, *options: str) -> Answer:
        self.state["pools"][name] = False
        return 0, "", ""

    def _pool_start(self, name: str) -> Answer:
        self.state["pools"][name] = True
        return 0, "", ""

    def _nothing(self, *arguments: str) -> Answer:
        return 0, "", ""

    _pool_build = _pool_autostart = _pool_refresh = _nothing

    def _pool_dumpxml(self, name: str) -> Answer:
        return 0, f"<pool type='dir'><target><path>{_POOL}</path></target></pool>\n", ""

    def _vol_list(self, pool: str) -> Answer:
        rows = (f" {name}   {_POOL}/{name}\n" for name in self.state["volumes"])
        return 0, "".join(rows), ""

    def _vol_delete(self, name: str, *options: str) -> Answer:
        self.state["volumes"].remove(name)
        return 0, f"Vol {name} deleted\n", ""

    def _vol_download(self, name: str, file: str, *options: str) -> Answer:
        if name not in self.state["volumes"]:
            return 1, "", f"error: failed to get vol '{name}'\n"
        Path(file).write_text("[    0.0] Linux version 6\nno root device\n")
        return 0, "", ""

    def _secret_list(self) -> Answer:
        return 0, "".join(f" {id}\n" for id in self.state["secrets"]), ""

    def _secret_define(self, file: str) -> Answer:
        id = ElementTree.fromstring(Path(file).read_text()).findtext("uuid")
        self.state["secrets"].setdefault(id, None)
        return 0, f"Secret {id} created\n", ""

    def _secret_set_value(self, id: str, option: str, file: str) -> Answer:
        value = Path(file).read_text()
        assert b64decode(value)
        self.state["secrets"][id] = value
        return 0, "Secret value set\n", ""

    def _secret_get_value(self, id: str) -> Answer:
        value = self.state["secrets"][id]
        return (0, f"{value}\n", "") if value else (1, "", "error: Secret not found\n")

    def _secret_undefine(self, id: str) -> Answer:
        del self.state["secrets"][id]
        return 0, "", ""
