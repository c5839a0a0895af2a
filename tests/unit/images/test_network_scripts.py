"""Scripts about a node's network: the underlay of the switches, the check of the virtual IP."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from image_scripts import Machine

ADDRESS = "172.30.0.11"
PEERS = ("172.30.0.12", "172.30.0.13")
#: A forwarding database in a file, one line an entry, as the kernel lists it.
BRIDGE = """
case "$2" in
    show) cat "$FDB" ;;
    append) echo "$3 dst $7 self permanent" >> "$FDB" ;;
    delete) grep -v "^$3 dst $7 " "$FDB" > "$FDB.new"; mv "$FDB.new" "$FDB" ;;
esac
"""
FLOOD = "00:00:00:00:00:00"


class TestUnderlay:
    """start_underlay"""

    @pytest.fixture
    def node(self, tmp_path: Path) -> Machine:
        made = Machine(tmp_path, "/sys/class/net")
        made.script("openvswitch", "start_underlay", "/start_underlay")
        made.program("ovs-vsctl")
        made.program("ip", "[[ $2 != add ]] || mkdir -p /sys/class/net/$3")
        made.program("bridge", BRIDGE)
        made.program("sleep")
        (made.root / "fdb").touch()
        return made

    def start(self, node: Machine, *peers: str) -> subprocess.CompletedProcess[str]:
        done = node.run(
            node.path("/start_underlay"),
            ADDRESS=ADDRESS,
            PEERS=" ".join(peers),
            FDB=str(node.root / "fdb"),
        )
        assert done.returncode == 0, done.stderr
        assert node.calls[-1] == "sleep infinity"
        return done

    def peers(self, node: Machine) -> list[str]:
        """Where what is flooded goes."""
        lines = [line.split() for line in (node.root / "fdb").read_text().splitlines()]
        return [words[2] for words in lines if words[0] == FLOOD]

    def test_a_kernel_that_forwards_needs_none(self, node: Machine) -> None:
        node.program("ovs-vsctl", "[[ $* != *br-exists* ]] || exit 2")
        self.start(node, *PEERS)
        assert node.calls == ["ovs-vsctl --timeout=20 br-exists br-underlay", "sleep infinity"]

    def test_it_links_all_nodes_and_a_second_start_changes_nothing(self, node: Machine) -> None:
        self.start(node, *PEERS)
        assert "ip link add vxlan-underlay type vxlan id 4242 dstport 4790 local 172.30.0.11" in (
            node.calls
        )
        assert self.peers(node) == [*PEERS]
        assert node.calls[-2].endswith("--may-exist add-port br-underlay vxlan-underlay")
        self.start(node, *PEERS)
        assert self.peers(node) == [*PEERS]
        assert not [call for call in node.calls if "link add" in call or " append " in call]

    def test_nodes_come_and_go(self, node: Machine) -> None:
        """And one whose address is the beginning of another one's is not taken for it."""
        self.start(node, "172.30.0.12", "172.30.0.120")
        learned = "aa:bb:cc:dd:ee:ff dst 172.30.0.12 self"
        with (node.root / "fdb").open("a") as file:
            file.write(f"{learned}\n")
        self.start(node, "172.30.0.120", "172.30.0.1")
        assert sorted(self.peers(node)) == ["172.30.0.1", "172.30.0.120"]
        assert learned in (node.root / "fdb").read_text()


class TestVswitchd:
    """start_vswitchd"""

    @pytest.fixture
    def node(self, tmp_path: Path) -> Machine:
        made = Machine(tmp_path, "/sys/class/net", "/sys/module")
        made.script("openvswitch", "start_vswitchd", "/start_vswitchd")
        for name in ("modprobe", "ip", "ovs-vsctl", "ovs-vswitchd"):
            made.program(name)
        for bridge in ("br-ex", "br-underlay"):
            made.path(f"/sys/class/net/{bridge}").mkdir()
        return made

    def start(self, node: Machine, *, underlay: str, options: str = "") -> str:
        done = node.run(
            node.path("/start_vswitchd"),
            EXTERNAL_INTERFACE="",
            EXTERNAL_ADDRESS="172.31.0.11/24",
            SYSTEM_ID="ctl1",
            ENCAP_ADDRESS=ADDRESS,
            OVN_REMOTE="tcp:172.30.0.11:6642",
            CHASSIS_OPTIONS=options,
            UNDERLAY_ADDRESS=underlay,
        )
        assert done.returncode == 0, done.stderr
        return "\n".join(node.calls)

    def test_tunnels_of_userspace_end_on_the_underlay(self, node: Machine) -> None:
        said = self.start(node, underlay="100.64.0.11")
        assert "external_ids:ovn-encap-ip=100.64.0.11" in said
        assert "add-br br-underlay -- set bridge br-underlay datapath_type=netdev" in said
        assert "ip address replace 100.64.0.11/16 dev br-underlay" in said

    @pytest.mark.parametrize(("kernel", "underlay"), [(True, "100.64.0.11"), (False, "")])
    def test_elsewhere_there_is_none(self, node: Machine, kernel: bool, underlay: str) -> None:
        if kernel:
            node.path("/sys/module/openvswitch").mkdir()
        said = self.start(node, underlay=underlay)
        assert f"external_ids:ovn-encap-ip={ADDRESS}" in said
        assert "--if-exists del-br br-underlay" in said
        assert "add-br br-underlay" not in said and "dev br-underlay" not in said

    @pytest.mark.parametrize("options", ["", "enable-chassis-as-gw"])
    def test_a_node_that_is_no_gateway_any_more_says_so(self, node: Machine, options: str) -> None:
        """An empty value has to be in quotes, or ovs-vsctl refuses all of them."""
        assert f'external_ids:ovn-cms-options="{options}"' in self.start(
            node, underlay="", options=options
        )


class TestVirtualIp:
    """check_vip"""

    VIP = "172.30.0.10"
    LISTED = "\n".join(
        (
            "1: lo    inet 127.0.0.1/8 scope host lo",
            "4: eth9    inet 172.30.0.111/24 scope global eth9",
            "5: eth0    inet 172.30.0.11/24 scope global eth0",
        )
    )

    #: Who has which address, as arping tells it; somebody else has the virtual IP if anybody.
    MACS = ("02:42:AC:1E:00:0C", "02:42:AC:1E:00:0D")

    @pytest.fixture
    def node(self, tmp_path: Path) -> Machine:
        made = Machine(tmp_path)
        made.script("loadbalancer", "check_vip", "/check_vip")
        made.program("ip", f'echo "{self.LISTED}"')
        self.holder(made, "")
        return made

    def holder(self, node: Machine, mac: str, *, peers: bool = True) -> None:
        """The virtual IP is at `mac`; with -D, that somebody answers is exit code 1."""
        reply = 'echo "Unicast reply from $address [$mac]  0.7ms"'
        node.program(
            "arping",
            f"""
            for address; do :; done
            case $address in
                {self.VIP}) mac={mac}; [[ -n $mac ]] || exit 0; {reply}; exit 1 ;;
                *.12) mac={self.MACS[0]} ;;
                *.13) mac={self.MACS[1]} ;;
            esac
            {reply if peers else "exit 1"}
            """,
        )

    def check(self, node: Machine) -> subprocess.CompletedProcess[str]:
        return node.run(node.path("/check_vip"), self.VIP, ADDRESS, *PEERS)

    def test_an_address_that_nobody_has(self, node: Machine) -> None:
        assert self.check(node).returncode == 0
        (call,) = [call for call in node.calls if call.startswith("arping")]
        assert call == "arping -D -c 2 -w 2 -I eth0 172.30.0.10"

    @pytest.mark.parametrize("peers", [True, False])
    def test_an_address_that_somebody_has(self, node: Machine, peers: bool) -> None:
        self.holder(node, "02:42:AC:1E:00:63", peers=peers)
        done = self.check(node)
        assert done.returncode == 1
        assert "the virtual IP 172.30.0.10 answers already, from 02:42:AC:1E:00:63" in done.stderr
        assert "networks: {api: {vip: ADDRESS}}" in done.stderr

    @pytest.mark.parametrize("mac", MACS)
    def test_an_address_that_a_peer_has(self, node: Machine, mac: str) -> None:
        """The job runs again on a node that was wiped: it is another one's turn."""
        self.holder(node, mac)
        assert self.check(node).returncode == 0

    def test_a_question_that_could_not_be_asked_proves_nothing(self, node: Machine) -> None:
        node.program("arping", 'echo "arping: Device eth0 not available." >&2; exit 2')
        assert self.check(node).returncode != 0
