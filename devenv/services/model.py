"""What a service's folder says in ``service.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from devenv.topology.values import Role


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ConfigFile(_Model):
    """A template in the service's folder and where kolla_start puts the result."""

    template: str
    """File below ``templates/``."""
    dest: str
    """Absolute path in the container."""
    perm: str = "0600"
    """Permission bits, octal."""


class Ready(_Model):
    """How to ask whether a container answers; run inside it."""

    command: str
    """A command line, with the templates' variables."""
    timeout: float = 120
    """Seconds until the deploy gives up."""


class Cluster(_Model):
    """What it means that a container's instances on several nodes form one cluster.

    The commands are run in a member's container by bash, with the templates' variables.
    """

    member: str = ""
    """Succeeds in a member that is in a working cluster. Where it succeeds in none, `bootstrap`
    is run again; empty for a cluster that comes back by itself."""
    bootstrap: str = ""
    """The job that lets stopped members form a cluster again when all of them were lost."""
    forget: str = ""
    """Tells a member that another one, `gone`, has lost its data or will not come back. To be
    told twice, or of one that it never knew, does no harm; how it ends is of no interest."""


class Frontend(_Model):
    """A port on the virtual IP, with the same port of every control node behind it."""

    port: int
    check: str = ""
    """A path that answers 2xx or 3xx where the service works; empty to look at the port only."""
    options: list[str] = Field(default_factory=list)
    """More of haproxy's keywords for this listener."""


class ContainerSpec(_Model):
    """A container of a service, or a one-shot job."""

    image: str
    """Kolla's name of the image."""
    roles: list[Role]
    """Runs on the nodes with one of these roles; a job on the first of them, unless `each`."""
    job: bool = False
    """Runs once to its end; its container stays as the record that it did."""
    command: str = ""
    """What kolla_start runs. Templates' variables may be used."""
    bootstrap: bool = False
    """Run with KOLLA_BOOTSTRAP set: the image knows what to do. Implies a job."""
    each: bool = False
    """A job that runs on every node of its roles, not only on the first."""
    clustered: bool = False
    """Only where several nodes have one of its roles."""
    cluster: Cluster | None = None
    """How the instances on several nodes belong together, if they do."""
    files: list[ConfigFile] = Field(default_factory=list)
    owner: str = "root"
    """Owner of the config files in the container."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Environment variables. Templates' variables may be used."""
    volumes: list[str] = Field(default_factory=list)
    """Binds and named volumes, in Compose's short form."""
    capabilities: list[str] = Field(default_factory=list)
    """Capabilities beyond Docker's defaults."""
    devices: list[str] = Field(default_factory=list)
    pid: Literal["", "host"] = ""
    cgroupns: Literal["private", "host"] = "private"
    unconfined: bool = False
    """Without the default seccomp and apparmor profiles: for what mounts or makes namespaces."""
    after: list[str] = Field(default_factory=list)
    """Containers that must answer, and jobs that must be done, before this one starts. Of one
    that runs on several nodes all if it forms a cluster, else the one of the same node or the
    first: the others are behind the virtual IP when they answer."""
    ready: Ready | None = None
    schemas: bool = False
    """A job that makes the service's database schemas: they are kept and restored."""
    creates_volume: str = ""
    """A job that fills this volume: when the volume is gone from every node the job runs again,
    and so does every job after it. A node that lost it while others have it joins those."""
    stop_timeout: int = 10
    """Seconds between SIGTERM and SIGKILL."""

    @property
    def is_job(self) -> bool:
        """Whether this runs once to its end."""
        return self.job or self.bootstrap


class Database(_Model):
    """Databases of a service and the user that owns them."""

    user: str
    names: list[str]


class Identity(_Model):
    """The service's user and its place in keystone's catalogue."""

    user: str = ""
    """A user with the admin and service roles in the project `service`; none if empty."""
    type: str = ""
    """The service type, such as ``compute``; none if empty."""
    url: str = ""
    """The endpoint of all three interfaces. Templates' variables may be used."""


class Service(_Model):
    """One folder of the catalogue."""

    name: str
    summary: str
    requires: list[str] = Field(default_factory=list)
    """Services that must be enabled as well."""
    optional: bool = False
    """Not deployed unless the topology enables it."""
    config: str = ""
    """The file that ``overrides.NAME.config`` changes."""
    images: list[str] = Field(default_factory=list)
    """Images that the folder's Dockerfile makes, one stage each."""
    pypi: str = ""
    """The distribution that ``--source`` replaces; empty where it cannot be."""
    database: Database | None = None
    identity: Identity = Field(default_factory=Identity)
    frontends: dict[str, Frontend] = Field(default_factory=dict)
    """What of it is reached through the virtual IP, by container."""
    containers: dict[str, ContainerSpec]

    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _jobs_are_not_ready(self) -> Service:
        for name, spec in self.containers.items():
            if spec.is_job and spec.ready:
                raise ValueError(f"{name}: a job is done when it ends; it has no `ready`")
        return self
