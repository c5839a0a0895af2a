"""What every provider has to do, whatever its nodes are made of.

A test module subclasses :class:`ProviderContract` and has these fixtures of module scope:
`provider`, for an environment that does not exist yet and is destroyed at the end; `wanted`, a
topology with at least one node, that one with the role control; `larger`, the same with more
nodes, none of them control nodes; `refused`, one that it cannot become; `store`, an image store
that is complete. Every test makes the environment first, which is nothing where it is there: each
can run alone and in any order.
"""

from __future__ import annotations

import contextlib
import stat
from ipaddress import IPv4Address, IPv4Interface
from typing import get_args

import pytest

from devenv.core.errors import InputError, NodeError, Unsupported
from devenv.images.store import Store
from devenv.nodes.node import Node
from devenv.providers.base import Inventory, PowerAction, Provider, leaving, refuse_change
from devenv.topology.load import LoadedTopology


class ProviderContract:
    """The suite. :meth:`birth` and those after it are how a test looks at a node itself."""

    def birth(self, provider: Provider, node: Node) -> str | None:
        """What is another after each boot of the node; None if the node does not answer."""
        raise NotImplementedError

    def names(self, provider: Provider, node: Node) -> dict[str, str]:
        """The address of each name that the node knows and that is one of a node."""
        raise NotImplementedError

    def wipe(self, provider: Provider, node: Node) -> None:
        """Take the node away, its disk too, and not through the provider."""
        raise NotImplementedError

    @pytest.fixture
    def inventory(self, provider: Provider, wanted: LoadedTopology, store: Store) -> Inventory:
        """The environment, made if it is not there."""
        return provider.create(wanted, store)

    def needs_pause(self, provider: Provider, node: Node) -> None:
        """Skip a test where nodes cannot be paused; `node` runs."""
        try:
            provider.power(node.name, "resume")
        except Unsupported as reason:
            assert len(reason.message) > 20 and reason.node == node.name
            with pytest.raises(Unsupported):
                provider.power(node.name, "pause")
            pytest.skip(str(reason))

    def births(self, provider: Provider, inventory: Inventory) -> dict[str, str | None]:
        """All nodes', by name."""
        return {node.name: self.birth(provider, node) for node in inventory.nodes}

    def test_the_nodes_are_those_of_the_topology(
        self, inventory: Inventory, wanted: LoadedTopology
    ) -> None:
        specs = wanted.topology.node_specs()
        assert [node.name for node in inventory.nodes] == [spec.name for spec in specs]
        assert [node.roles for node in inventory.nodes] == [spec.roles for spec in specs]
        assert inventory.source == wanted.source

    def test_addresses_are_in_the_networks_and_each_is_one_nodes(
        self, inventory: Inventory
    ) -> None:
        assert not inventory.api.overlaps(inventory.external)
        addresses = [IPv4Address(node.address) for node in inventory.nodes]
        outside = [IPv4Interface(node.external.address) for node in inventory.nodes]
        assert all(address in inventory.api for address in addresses)
        assert all(interface.network == inventory.external for interface in outside)
        taken = [*addresses, *(interface.ip for interface in outside), inventory.gateway]
        assert len(set(taken)) == len(taken)
        assert inventory.gateway in inventory.external
        assert inventory.vip in inventory.api
        control = inventory.with_role("control")
        if len(control) == 1:
            assert str(inventory.vip) == control[0].address
        else:
            assert inventory.vip not in addresses
        assert inventory.virtual is (inventory.vip not in addresses)

    def test_the_key_is_private_and_the_host_keys_are_known(self, inventory: Inventory) -> None:
        for node in inventory.nodes:
            assert stat.S_IMODE(node.ssh.key.stat().st_mode) == 0o600
            hosts = [line.split()[0] for line in node.ssh.known_hosts.read_text().splitlines()]
            assert node.ssh.host in hosts

    def test_every_node_knows_the_others(self, provider: Provider, inventory: Inventory) -> None:
        self.all_know_all(provider, inventory)

    def all_know_all(self, provider: Provider, inventory: Inventory) -> None:
        """Every node has one address for each name, and no name of a node that is gone."""
        expected = {node.name: node.address for node in inventory.nodes}
        for node in inventory.nodes:
            assert self.names(provider, node) == expected, node.name

    def test_every_node_answers(self, provider: Provider, inventory: Inventory) -> None:
        assert None not in self.births(provider, inventory).values()

    def test_the_backend_knows_the_same(self, provider: Provider, inventory: Inventory) -> None:
        assert provider.nodes() == inventory

    def test_creating_again_changes_nothing(
        self, provider: Provider, wanted: LoadedTopology, store: Store, inventory: Inventory
    ) -> None:
        before = self.births(provider, inventory)
        assert provider.create(wanted, store) == inventory
        assert self.births(provider, inventory) == before

    def test_a_topology_that_gains_nodes_and_loses_them(
        self,
        provider: Provider,
        wanted: LoadedTopology,
        larger: LoadedTopology,
        store: Store,
        inventory: Inventory,
    ) -> None:
        before = self.births(provider, inventory)
        made = provider.create(larger, store)
        assert provider.nodes() == made
        assert [node.name for node in made.nodes] == [
            spec.name for spec in larger.topology.node_specs()
        ]
        there = {node.name: node for node in made.nodes}
        assert [there[node.name] for node in inventory.nodes] == list(inventory.nodes)
        births = self.births(provider, made)
        assert None not in births.values()
        assert {name: births[name] for name in before} == before, "others are not touched"
        self.all_know_all(provider, made)
        gone = leaving(made, wanted)
        assert {node.name for node in gone} == there.keys() - before.keys() != set()

        assert provider.create(wanted, store) == inventory
        assert leaving(inventory, wanted) == ()
        assert self.births(provider, made) == before | {node.name: None for node in gone}
        self.all_know_all(provider, inventory)

    def test_a_node_that_joined_is_known_after_a_power_cycle_too(
        self,
        provider: Provider,
        wanted: LoadedTopology,
        larger: LoadedTopology,
        store: Store,
        inventory: Inventory,
    ) -> None:
        made = provider.create(larger, store)
        provider.power(inventory.nodes[0].name, "off")
        provider.power(inventory.nodes[0].name, "on")
        self.all_know_all(provider, made)
        provider.power(inventory.nodes[0].name, "reset")
        self.all_know_all(provider, made)
        provider.create(wanted, store)

    @pytest.mark.parametrize("place", [0, -1])
    def test_a_node_that_was_wiped_comes_back(
        self,
        provider: Provider,
        wanted: LoadedTopology,
        store: Store,
        inventory: Inventory,
        place: int,
    ) -> None:
        node = inventory.nodes[place]
        before = self.births(provider, inventory)
        self.wipe(provider, node)
        assert self.births(provider, inventory) == {**before, node.name: None}
        assert provider.create(wanted, store) == inventory, "name, order and addresses too"
        after = self.births(provider, inventory)
        assert after[node.name] not in (None, before[node.name])
        assert {**after, node.name: None} == {**before, node.name: None}
        self.all_know_all(provider, inventory)

    def test_what_is_refused_changes_nothing(
        self, provider: Provider, refused: LoadedTopology, store: Store, inventory: Inventory
    ) -> None:
        before = self.births(provider, inventory)
        with pytest.raises(InputError) as at_create:
            provider.create(refused, store)
        with pytest.raises(InputError) as early:
            refuse_change(provider.nodes(), refused)
        assert str(early.value) == str(at_create.value) and early.value.remedy
        assert provider.nodes() == inventory
        assert self.births(provider, inventory) == before

    def test_off_and_on(self, provider: Provider, inventory: Inventory) -> None:
        *_, node = inventory.nodes
        before = self.births(provider, inventory)
        provider.power(node.name, "off")
        assert self.births(provider, inventory) == {**before, node.name: None}
        assert provider.nodes() == inventory, "a node that is off is part of it"
        provider.power(node.name, "on")
        after = self.births(provider, inventory)
        assert after[node.name] not in (None, before[node.name])
        assert {**after, node.name: None} == {**before, node.name: None}
        assert provider.nodes() == inventory

    def test_creating_again_starts_what_is_off(
        self, provider: Provider, wanted: LoadedTopology, store: Store, inventory: Inventory
    ) -> None:
        node = inventory.nodes[0]
        before = self.birth(provider, node)
        provider.power(node.name, "off")
        assert provider.create(wanted, store) == inventory
        assert self.birth(provider, node) not in (None, before)

    def test_pause_and_resume(self, provider: Provider, inventory: Inventory) -> None:
        node = inventory.nodes[0]
        self.needs_pause(provider, node)
        before = self.birth(provider, node)
        provider.power(node.name, "pause")
        assert self.birth(provider, node) is None
        assert provider.nodes() == inventory
        provider.power(node.name, "resume")
        assert self.birth(provider, node) == before

    def test_creating_again_resumes_what_is_paused(
        self, provider: Provider, wanted: LoadedTopology, store: Store, inventory: Inventory
    ) -> None:
        node = inventory.nodes[0]
        self.needs_pause(provider, node)
        before = self.birth(provider, node)
        provider.power(node.name, "pause")
        assert provider.create(wanted, store) == inventory
        assert self.birth(provider, node) == before

    def test_reset(self, provider: Provider, inventory: Inventory) -> None:
        node = inventory.nodes[0]
        before = self.birth(provider, node)
        provider.power(node.name, "reset")
        assert self.birth(provider, node) not in (None, before)
        assert provider.nodes() == inventory

    @pytest.mark.parametrize("first", ["off", "pause"])
    def test_reset_brings_back_what_is_off_or_paused(
        self, provider: Provider, inventory: Inventory, first: PowerAction
    ) -> None:
        node = inventory.nodes[0]
        if first == "pause":
            self.needs_pause(provider, node)
        before = self.birth(provider, node)
        provider.power(node.name, first)
        provider.power(node.name, "reset")
        assert self.birth(provider, node) not in (None, before)

    def test_off_is_possible_while_paused(self, provider: Provider, inventory: Inventory) -> None:
        node = inventory.nodes[0]
        self.needs_pause(provider, node)
        before = self.birth(provider, node)
        provider.power(node.name, "pause")
        provider.power(node.name, "off")
        assert self.birth(provider, node) is None
        provider.power(node.name, "on")
        assert self.birth(provider, node) not in (None, before)

    @pytest.mark.parametrize(
        ("action", "back"), [("off", "on"), ("on", "on"), ("pause", "resume"), ("resume", "resume")]
    )
    def test_power_again_is_no_error(
        self, provider: Provider, inventory: Inventory, action: PowerAction, back: PowerAction
    ) -> None:
        """A kill may come between the act and whoever waits for it."""
        node = inventory.nodes[0]
        if back == "resume":
            self.needs_pause(provider, node)
        provider.power(node.name, action)
        provider.power(node.name, action)
        provider.power(node.name, back)
        assert self.birth(provider, node) is not None

    @pytest.mark.parametrize(
        ("state", "action", "back"),
        [("off", "pause", "on"), ("off", "resume", "on"), ("pause", "on", "resume")],
    )
    def test_power_that_is_refused_says_so(
        self,
        provider: Provider,
        inventory: Inventory,
        state: PowerAction,
        action: PowerAction,
        back: PowerAction,
    ) -> None:
        node = inventory.nodes[0]
        self.needs_pause(provider, node)
        provider.power(node.name, state)
        with pytest.raises(NodeError) as caught:
            provider.power(node.name, action)
        assert caught.value.node == node.name and caught.value.remedy
        provider.power(node.name, back)
        assert self.birth(provider, node) is not None

    @pytest.mark.parametrize("action", get_args(PowerAction))
    def test_a_node_that_is_none(
        self, provider: Provider, inventory: Inventory, action: PowerAction
    ) -> None:
        with pytest.raises(NodeError) as caught:
            provider.power("nobody", action)
        assert caught.value.node == "nobody"

    def test_a_snapshot_works_or_says_why_not(
        self, provider: Provider, inventory: Inventory
    ) -> None:
        try:
            provider.snapshot("before")
        except Unsupported as reason:
            assert len(reason.message) > 20
            with pytest.raises(Unsupported):
                provider.restore("before")
            return
        provider.power(inventory.nodes[0].name, "off")
        provider.restore("before")
        assert None not in self.births(provider, inventory).values()

    def test_garbage_is_not_what_has_nodes(self, provider: Provider, inventory: Inventory) -> None:
        before = self.births(provider, inventory)
        assert provider.collect_garbage() == []
        provider.power(inventory.nodes[0].name, "off")
        assert provider.collect_garbage() == []
        provider.power(inventory.nodes[0].name, "on")
        assert provider.nodes() == inventory
        assert self.births(provider, inventory).keys() == before.keys()

    def test_destroying_leaves_nothing_and_all_can_be_made_again(
        self, provider: Provider, wanted: LoadedTopology, store: Store, inventory: Inventory
    ) -> None:
        before = self.births(provider, inventory)
        with contextlib.suppress(Unsupported):
            provider.power(inventory.nodes[0].name, "pause")
        removed = provider.destroy()
        assert len(removed) == len(set(removed)) >= len(inventory.nodes)
        assert provider.nodes() is None
        assert set(self.births(provider, inventory).values()) == {None}
        assert provider.destroy() == []
        assert provider.collect_garbage() == []
        made = provider.create(wanted, store)
        assert [node.name for node in made.nodes] == [node.name for node in inventory.nodes]
        assert not set(self.births(provider, made).values()) & set(before.values())
