"""All that ``devenv doctor`` looks at, in the order in which one thing needs another."""

from __future__ import annotations

from devenv.host.checks import Probe
from devenv.host.resources import kvm_check, openvswitch_check
from devenv.images.checks import base_check, privileges_check
from devenv.providers.base import Provider
from devenv.topology.load import LoadedTopology


def probes(provider: Provider, wanted: LoadedTopology) -> list[Probe]:
    """What `provider` needs for `wanted`, what image builds need, and what is good to know."""
    return [
        *provider.check(wanted),
        base_check,
        privileges_check,
        openvswitch_check,
        kvm_check,
    ]
