"""What a topology file may say. The docstrings of the fields are its reference.

``schema.py`` writes them into the JSON Schema that editors read; ``load.py`` reads
files into these models, with the file and line in each error.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from devenv.topology.machines import Baremetal, Vagrant
from devenv.topology.values import (
    GIB,
    LABEL_LENGTH,
    Cidr,
    CidrOrAuto,
    ConfigFile,
    Cpus,
    FileName,
    Folder,
    Label,
    Roles,
    ServiceName,
    ServiceNames,
    Size,
    Vip,
    format_size,
)

VERSION = 1


class Problem(NamedTuple):
    """Something wrong across several keys, told at one of them.

    :param at: the key's path, below the model that found the problem.
    """

    at: tuple[str, ...]
    text: str


def _reject(problems: list[Problem]) -> None:
    """Raise what pydantic turns into an error of the model; ``ctx["problems"]`` has them all."""
    if problems:
        text = "; ".join(f"{'.'.join(problem.at)}: {problem.text}" for problem in problems)
        raise PydanticCustomError("problems", "{text}", {"text": text, "problems": problems})


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Resources(_Model):
    """What each node gets unless its node set says otherwise."""

    memory: Size = Field(default=4 * GIB, json_schema_extra={"default": format_size(4 * GIB)})
    """Memory of a node, with a unit: KiB, MiB, GiB or TiB (K, M, G, T mean the same)."""
    cpus: Cpus = 2
    """Processors of a node. A fraction such as 0.5 is a share of one, where the provider has
    shares; the others round up."""
    disk: Size | None = None
    """Disk of a node, with a unit. Without it: what the provider gives."""


class NodeSet(_Model):
    """Nodes that are alike."""

    count: int = Field(default=1, ge=0, le=200, strict=True)
    """How many nodes. One alone has the name of the set; more are numbered from 1
    (ctl1, ctl2, ctl3)."""
    roles: Roles
    """What runs on the nodes. control: databases, queues and APIs; network: gateways of the
    cloud's networks; compute: guests. Three control nodes survive the loss of one."""
    memory: Size | None = None
    """Memory of each node, with a unit. Without it: that of defaults."""
    cpus: Cpus | None = None
    """Processors of each node. Without it: those of defaults."""
    disk: Size | None = None
    """Disk of each node, with a unit. Without it: that of defaults."""


class ApiNetwork(_Model):
    """The network that the nodes and the APIs talk on."""

    cidr: CidrOrAuto = "auto"
    """A private IPv4 network of at least a /28, or auto: the provider picks a free one."""
    vip: Vip = "auto"
    """The virtual IP in front of the APIs and the database: an address of this network, with its
    cidr; auto, which picks one when there is more than one control node; or null for none, with
    one control node at most. An environment keeps the one that it was made with."""


class ExternalNetwork(_Model):
    """The network of the cloud's floating IPs."""

    cidr: CidrOrAuto = "auto"
    """A private IPv4 network of at least a /28, or auto: the provider picks a free one."""


class TenantNetwork(_Model):
    """The network inside the cloud that the first guests are on."""

    cidr: Cidr = IPv4Network("10.10.0.0/24")
    """A private IPv4 network of at least a /28. It exists inside the cloud only."""


class Networks(_Model):
    """The networks of the environment. Those given must not overlap."""

    api: ApiNetwork = Field(default_factory=ApiNetwork)
    """The network that the nodes and the APIs talk on."""
    external: ExternalNetwork = Field(default_factory=ExternalNetwork)
    """The network of the cloud's floating IPs."""
    tenant: TenantNetwork = Field(default_factory=TenantNetwork)
    """The network inside the cloud that the first guests are on."""

    @model_validator(mode="after")
    def _check(self) -> Networks:
        given = {
            name: cidr
            for name in ("api", "external", "tenant")
            if isinstance(cidr := getattr(self, name).cidr, IPv4Network)
        }
        problems = [
            # Told at what was written; a default that it meets is the other one.
            Problem(
                (second, "cidr") if getattr(self, second).model_fields_set else (first, "cidr"),
                f"the {first} network {given[first]} and the {second} network {given[second]} "
                "overlap",
            )
            for first, second in combinations(given, 2)
            if given[first].overlaps(given[second])
        ]
        vip, api = self.api.vip, self.api.cidr
        if isinstance(vip, IPv4Address) and (text := _vip_problem(vip, api)):
            problems.append(Problem(("api", "vip"), text))
        _reject(problems)
        return self


def _vip_problem(vip: IPv4Address, api: IPv4Network | Literal["auto"]) -> str:
    """Why an address cannot be the virtual IP; empty if it can."""
    if not isinstance(api, IPv4Network):
        return f"{vip} goes with the cidr of its network, not with one that the provider picks"
    if vip not in api:
        return f"{vip} is outside the network {api}"
    if vip in (api.network_address, api.broadcast_address):
        return f"{vip} is no host address in {api}"
    return f"{vip} is the gateway of {api}" if vip == api.network_address + 1 else ""


class ServiceChoice(_Model):
    """Which services run, beyond and without those that always do."""

    enable: ServiceNames = ()
    """Services to add to the default ones, such as heat."""
    disable: ServiceNames = ()
    """Services to leave out."""

    @model_validator(mode="after")
    def _check(self) -> ServiceChoice:
        both = [name for name in self.disable if name in self.enable]
        _reject([Problem(("disable",), f"{name} is also in enable") for name in both])
        return self


class ImageChoice(_Model):
    """Where the services' container images come from."""

    # "from" is no name in Python.
    source: Literal["source", "distro", "registry"] = Field(default="source", alias="from")
    """source: built from the PyPI packages of the release; distro: built from Debian's
    packages; registry: pulled from a registry that has Kolla's image names."""
    registry: str | None = Field(default=None, pattern=r"^[^\s:/]+(:[0-9]+)?(/[^\s:/]+)*$")
    """The part before the image's name, such as registry.example.org:5000/kolla. Required with
    `from: registry`, and only meant for it."""

    @model_validator(mode="after")
    def _check(self) -> ImageChoice:
        if self.source == "registry" and self.registry is None:
            _reject([Problem(("registry",), "is required with from: registry")])
        if self.source != "registry" and self.registry is not None:
            _reject([Problem(("registry",), f"goes with from: registry, not {self.source}")])
        return self


class Override(_Model):
    """What one service has of its own."""

    source: Folder | None = None
    """A checkout to put over the stock image, such as ../nova. A relative path starts at the
    topology file's folder; at the current one in a preset."""
    config: ConfigFile = Field(default_factory=dict)
    """Options of the service's main config file: section, option, value. A list gives an option
    that is repeated. The section "" is that of a file without sections."""
    files: dict[FileName, ConfigFile] = Field(default_factory=dict)
    """Options of the service's other config files, by file name: section, option, value."""


@dataclass(frozen=True)
class NodeSpec:
    """One node that the topology asks for.

    :param name: its host name.
    :param set_name: the key in ``nodes`` that it comes from.
    :param index: its number in the set, from 1.
    :param memory: bytes.
    :param disk: bytes, or None for what the provider gives.
    """

    name: str
    set_name: str
    index: int
    roles: frozenset[str]
    memory: int
    cpus: float
    disk: int | None = None


class Topology(_Model):
    """The nodes of an environment and what runs on them."""

    version: Literal[1]
    """The version of this format: 1."""
    release: str = Field(default="2026.1", pattern=r"^[0-9]{4}\.[12]$")
    """The OpenStack release, in quotes since YAML takes it for a number: "2026.1"."""
    provider: Literal["local", "vagrant", "heat", "baremetal"] = "local"
    """Where nodes come from. local: system containers on this machine; vagrant: virtual
    machines; heat: servers of an OpenStack cloud; baremetal: hosts that exist."""
    defaults: Resources = Field(default_factory=Resources)
    """What each node gets unless its node set says otherwise."""
    nodes: dict[Label, NodeSet]
    """The node sets by name. A name is a host name without dots, in lower case."""
    networks: Networks = Field(default_factory=Networks)
    """The networks of the environment."""
    services: ServiceChoice = Field(default_factory=ServiceChoice)
    """Which services run."""
    images: ImageChoice = Field(default_factory=ImageChoice)
    """Where the services' container images come from."""
    overrides: dict[ServiceName, Override] = Field(default_factory=dict)
    """What a service has of its own, by service: a local checkout, config."""
    vagrant: Vagrant = Field(default_factory=Vagrant)
    """What runs the virtual machines, with `provider: vagrant`."""
    baremetal: Baremetal = Field(default_factory=Baremetal)
    """The hosts, with `provider: baremetal`."""

    @model_validator(mode="after")
    def _check(self) -> Topology:
        specs = self.node_specs()
        problems = [] if specs else [Problem(("nodes",), "there should be at least one node")]
        makers: dict[str, str] = {}
        for spec in specs:
            at = ("nodes", spec.set_name)
            maker = makers.setdefault(spec.name, spec.set_name)
            if maker != spec.set_name:
                problems.append(Problem(at, f"nodes.{maker} makes a node named {spec.name} too"))
        # Specs of a set go up in number, so the last one here has the longest name.
        for set_name, name in {spec.set_name: spec.name for spec in specs}.items():
            if len(name) > LABEL_LENGTH:
                text = f"{name} has {len(name)} characters; a host name has at most {LABEL_LENGTH}"
                problems.append(Problem(("nodes", set_name), text))
        api = self.networks.api.cidr
        # Network, broadcast, gateway and virtual IP are no node's.
        if isinstance(api, IPv4Network) and len(specs) > (room := api.num_addresses - 4):
            text = f"{api} has room for {room} nodes; the topology has {len(specs)}"
            problems.append(Problem(("networks", "api", "cidr"), text))
        vip, controls = self.networks.api.vip, len(self.control_specs())
        if isinstance(vip, IPv4Address) and controls < 2:
            text = f"a virtual IP needs several control nodes; the topology has {controls}"
            problems.append(Problem(("networks", "api", "vip"), text))
        if vip is None and controls > 1:
            text = f"without one, nothing is in front of the APIs of {controls} control nodes"
            problems.append(Problem(("networks", "api", "vip"), text))
        _reject(problems)
        return self

    def control_specs(self) -> tuple[NodeSpec, ...]:
        """The nodes with the role control, in the order of the file."""
        return tuple(spec for spec in self.node_specs() if "control" in spec.roles)

    def node_specs(self) -> tuple[NodeSpec, ...]:
        """The nodes, in the order of the file."""
        return tuple(
            NodeSpec(
                name=name if nodes.count == 1 else f"{name}{index}",
                set_name=name,
                index=index,
                roles=frozenset(nodes.roles),
                memory=nodes.memory or self.defaults.memory,
                cpus=nodes.cpus or self.defaults.cpus,
                disk=nodes.disk or self.defaults.disk,
            )
            for name, nodes in self.nodes.items()
            for index in range(1, nodes.count + 1)
        )

    def warnings(self) -> list[str]:
        """What is allowed, but hardly meant; one sentence each, with the reason."""
        controls = len(self.control_specs())
        if controls < 2 or controls % 2:
            return []
        survived = (controls - 1) // 2
        return [
            f"{controls} control nodes survive the loss of {survived}, no more than "
            f"{controls - 1} do: a cluster goes on while more than half of it is there. "
            f"Use an odd number."
        ]

    def to_data(self) -> dict[str, Any]:
        """The whole topology, defaults included, as a file would have it: JSON types only."""
        return self.model_dump(mode="json", by_alias=True)
