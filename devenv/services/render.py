"""From a service's folder to what a container on a node is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError

from devenv.core.errors import DevenvError
from devenv.core.hashing import digest
from devenv.core.secrets import Secrets
from devenv.nodes.node import Node
from devenv.services import ini
from devenv.services.catalogue import catalogue
from devenv.services.model import ContainerSpec, Service
from devenv.topology.models import Topology

REGION = "RegionOne"


@dataclass(frozen=True)
class Place:
    """Where an environment's services are: what templates may know of nodes and networks.

    :param external: cidr, gateway, start and end of the floating IPs.
    """

    nodes: tuple[Node, ...]
    vip: str
    external: Mapping[str, str]
    public_key: str


@dataclass(frozen=True)
class Rendered:
    """A container on a node, ready to be compared with what is there.

    :param files: the content of /var/lib/kolla/config_files by file name.
    :param hash: over all of it, the image's recipe included.
    :param image: the reference to run.
    """

    service: str
    name: str
    node: str
    spec: ContainerSpec
    image: str
    files: Mapping[str, bytes]
    environment: Mapping[str, str]
    ready: str
    hash: str


@dataclass
class Renderer:
    """Renders the containers of `services` for the nodes of a place.

    :param images: image name to its reference and the hash of what it was built from.
    """

    topology: Topology
    services: list[Service]
    place: Place
    secrets: Secrets
    images: Mapping[str, tuple[str, str]]
    _environments: dict[str, Environment] = field(default_factory=dict)

    def render(self, service: Service, name: str, node: Node) -> Rendered:
        """The container `name` of `service` on `node`.

        :raises DevenvError: when a template is wrong; it names the file.
        """
        spec = service.containers[name]
        variables = {**self._shared, "node": node}
        files = self._files(service, spec, variables)
        environment = {
            "KOLLA_CONFIG_STRATEGY": "COPY_ALWAYS",
            **{
                key: self._text(service, value, variables)
                for key, value in spec.environment.items()
            },
            **({"KOLLA_BOOTSTRAP": ""} if spec.bootstrap else {}),
        }
        ready = self._text(service, spec.ready.command, variables) if spec.ready else ""
        reference, recipe = self.images[spec.image]
        # How it is asked, and in which order, is no part of what it is.
        facts = spec.model_dump(mode="json", exclude={"after", "ready", "schemas", "cluster"})
        # What a bootstrap does depends on the image; its configuration only says where the data is.
        counted = {} if spec.bootstrap else {key: value.decode() for key, value in files.items()}
        total = digest(recipe, facts, environment, counted)
        return Rendered(
            service.name, name, node.name, spec, reference, files, environment, ready, total
        )

    def command(self, service: Service, text: str, node: Node, gone: Node | None = None) -> str:
        """A command line of `service` as it is run on `node`, about the node `gone` if any."""
        return self._text(service, text, {**self._shared, "node": node, "gone": gone})

    def nodes_for(self, spec: ContainerSpec) -> tuple[Node, ...]:
        """Where a container runs: on all nodes with one of its roles, a job on one of them."""
        nodes = tuple(n for n in self.place.nodes if not n.roles.isdisjoint(spec.roles))
        if spec.clustered and len(nodes) < 2:
            return ()
        return nodes[:1] if spec.is_job and not spec.each else nodes

    def _files(
        self, service: Service, spec: ContainerSpec, variables: dict[str, Any]
    ) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        entries = []
        for file in spec.files:
            text = self._render(service, file.template, variables)
            text = self._overridden(service, Path(file.dest).name, text)
            files[file.template] = text.encode()
            entries.append(
                {
                    "source": f"/var/lib/kolla/config_files/{file.template}",
                    "dest": file.dest,
                    "owner": spec.owner,
                    "perm": file.perm,
                }
            )
        command = self._text(service, spec.command, variables)
        config = {"command": command, "config_files": entries, "permissions": []}
        files["config.json"] = json.dumps(config, indent=2).encode()
        return files

    def _overridden(self, service: Service, name: str, text: str) -> str:
        override = self.topology.overrides.get(service.name)
        if override is None:
            return text
        if override.config and name == service.config:
            text = ini.merge(text, override.config)
        changes = override.files.get(name) if override.files else None
        return ini.merge(text, changes) if changes else text

    @cached_property
    def _shared(self) -> dict[str, Any]:
        control = [node for node in self.place.nodes if "control" in node.roles]
        vip, password = self.place.vip, self.secrets.password

        def database_url(user: str, name: str) -> str:
            login = f"{user}:{password(user + '_database')}"
            return f"mysql+pymysql://{login}@{vip}:3306/{name}?charset=utf8"

        identities = [(service.name, service.identity) for service in self.services]
        variables: dict[str, Any] = {
            "nodes": self.place.nodes,
            "control": control,
            "ha": len(control) > 1,
            "frontends": {
                name: front for s in self.services for name, front in s.frontends.items()
            },
            "vip": vip,
            "region": REGION,
            "password": password,
            "fernet_key": self.secrets.fernet_key,
            "database_url": database_url,
            "databases": [s.database for s in self.services if s.database],
            "memcached_servers": ",".join(f"{node.address}:11211" for node in control),
            "transport_url": "rabbit://"
            + ",".join(f"openstack:{password('rabbitmq')}@{node.address}:5672" for node in control)
            + "//",
            "ovn_remote": lambda port: ",".join(f"tcp:{node.address}:{port}" for node in control),
            "external": self.place.external,
            "tenant_cidr": str(self.topology.networks.tenant.cidr),
            "public_key": self.place.public_key,
        }
        variables["identity_users"] = [
            {"name": identity.user, "password": password(f"{identity.user}_keystone")}
            for _, identity in identities
            if identity.user
        ]
        template = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - not HTML
        variables["identity_endpoints"] = [
            {
                "name": name,
                "type": identity.type,
                "url": template.from_string(identity.url).render(variables),
            }
            for name, identity in identities
            if identity.type
        ]
        return variables

    def _environment(self, service: Service) -> Environment:
        if service.name not in self._environments:
            shared = service.folder.parent / "_shared"
            self._environments[service.name] = Environment(
                loader=ChoiceLoader(
                    [FileSystemLoader(service.folder / "templates"), FileSystemLoader(shared)]
                ),
                undefined=StrictUndefined,
                keep_trailing_newline=True,
                trim_blocks=True,
                lstrip_blocks=True,
                autoescape=False,  # noqa: S701 - config files, not HTML
            )
        return self._environments[service.name]

    def _render(self, service: Service, template: str, variables: dict[str, Any]) -> str:
        if template.endswith(".py"):  # A program, not a template.
            return (service.folder / "templates" / template).read_text()
        try:
            return self._environment(service).get_template(template).render(variables)
        except TemplateError as error:
            raise DevenvError(f"{service.name}/templates/{template}: {error}") from error

    def _text(self, service: Service, text: str, variables: dict[str, Any]) -> str:
        try:
            return self._environment(service).from_string(text).render(variables)
        except TemplateError as error:
            raise DevenvError(f"{service.name}/service.yaml: {text!r}: {error}") from error


def service_of(container: str) -> Service | None:
    """The service that a container's name belongs to."""
    for service in catalogue().values():
        if container in service.containers:
            return service
    return None
