"""What a topology says about nodes that are virtual or real machines."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from devenv.topology.values import ExistingFile, Interface, Label


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Vagrant(_Model):
    """Virtual machines that Vagrant makes. Used with ``provider: vagrant`` only."""

    driver: Literal["auto", "libvirt", "virtualbox"] = "auto"
    """What runs the machines; auto: libvirt where vagrant has its plugin, else VirtualBox."""
    box: str | None = Field(default=None, min_length=1)
    """A box that vagrant has or finds, such as debian/trixie64; its nodes are prepared over SSH.
    Without it: the box that `devenv images box` builds, with the service images in it."""
    box_version: str | None = Field(default=None, min_length=1)
    """The version of the box. Only meant for a box."""


class Bmc(_Model):
    """A controller of a machine's power."""

    address: str
    """Redfish: the URL of the service, such as https://bmc1.example.org; IPMI: a host name or
    address."""
    username: str = Field(min_length=1)
    """The name to log in with."""
    password_file: ExistingFile | None = None
    """A file whose first line is the password. Without it: $DEVENV_BMC_PASSWORD."""


class Redfish(Bmc):
    """A Redfish service that has the machine's power."""

    system: str | None = None
    """The path of the machine, /redfish/v1/Systems/ID. Not needed where there is one only."""
    verify: bool | ExistingFile = True
    """Whether its certificate is checked; a file: the certificate that signed it."""


class Ipmi(Bmc):
    """An IPMI 2.0 controller."""

    port: int = Field(default=623, ge=1, le=65535)
    """The UDP port of the controller."""


class HostExternal(_Model):
    """A host's place on the external network."""

    interface: Interface
    """A device that nothing else uses: it becomes part of the provider network."""
    address: IPv4Address
    """The host's address on it."""


class Host(_Model):
    """A machine that exists, with a system and SSH."""

    address: IPv4Address
    """Its address on the API network."""
    ssh_host: str | None = None
    """Where its SSH is, if not at the address."""
    port: int = Field(default=22, ge=1, le=65535)
    """The port of its SSH."""
    user: str = Field(default="root", min_length=1)
    """Who logs in; one who is not root needs sudo without a password."""
    key: ExistingFile | None = None
    """A private SSH key. Without it: those of ssh-agent and ~/.ssh."""
    host_key: str | None = Field(default=None, pattern=r"^(ssh|ecdsa|sk)-\S+ \S+")
    """Its public host key, as /etc/ssh/ssh_host_ed25519_key.pub has it. Without it: the key that
    it shows at first contact is the one that it must have as long as the environment is there."""
    external: HostExternal | None = None
    """Its place on the external network; only needed on network nodes, and for guests."""
    redfish: Redfish | None = None
    """Its power switch by Redfish."""
    ipmi: Ipmi | None = None
    """Its power switch by IPMI 2.0."""


class Ironic(_Model):
    """Enrolled machines without a system, which an Ironic deploys."""

    cloud: str = Field(min_length=1)
    """A cloud in clouds.yaml that has the Ironic."""
    resource_class: str = Field(min_length=1)
    """The class of the machines to take."""
    image: str = Field(min_length=1)
    """The URL of a whole-disk image, or the id of one in the cloud's glance."""
    checksum: str | None = None
    """The image's SHA-256 or the URL of a list of them; required with a URL by most Ironics."""
    user: str = Field(default="root", min_length=1)
    """Who logs in to a machine that has the image."""
    network: str | None = None
    """The id of a neutron network whose ports the machines get; without it they keep theirs, and
    their addresses are those of `addresses`."""
    addresses: dict[str, IPv4Address] = Field(default_factory=dict)
    """The address of each machine by its name in Ironic, on networks without neutron."""


class Baremetal(_Model):
    """Hosts that exist. Used with ``provider: baremetal`` only."""

    hosts: dict[Label, Host] = Field(default_factory=dict)
    """The host behind each node, by the node's name (ctl1, ctl2, ...). More than there are nodes
    do no harm: they are not touched."""
    gateway: IPv4Address | None = None
    """The router of the external network. Without it: the network's first address."""
    ironic: Ironic | None = None
    """Take machines from an Ironic instead of hosts."""
