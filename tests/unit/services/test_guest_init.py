"""The guest's scripts, run by this machine's `sh` with stand-ins for what they call."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import devenv.services

ROOTFS = Path(devenv.services.__file__).parent / "seed" / "image" / "guest" / "rootfs"
GUEST = ROOTFS / "guest"
UUID = "0f9a3c1e-1111-4222-8333-444455556666"


class Guest:
    """Runs the guest's scripts: commands in `bin` come first, state is in `state`."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.state = folder / "state"
        self.resolv_conf = folder / "resolv.conf"
        self.calls_file = folder / "calls"
        self.bin.mkdir()
        self.state.mkdir()

    def stand_in(self, command: str, body: str = "") -> None:
        """Put a command on PATH that notes its arguments and then runs `body`."""
        path = self.bin / command
        path.write_text(f'#!/bin/sh\necho "{command} $*" >>"{self.calls_file}"\n{body}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """What the stand-ins were called with since the last question."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return lines

    def run(self, script: str, *args: str, **variables: str) -> list[str]:
        """Run `script` and give the lines that it printed."""
        done = subprocess.run(
            ["sh", str(GUEST / script), *args],
            env={
                "PATH": f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin",
                "GUEST": str(GUEST),
                "STATE": str(self.state),
                "RESOLV_CONF": str(self.resolv_conf),
                **variables,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout.splitlines()

    def lease(self, event: str, **variables: str) -> list[str]:
        """Run the event script as udhcpc does, for 10.0.0.5/24 on eth0 with MTU 1392."""
        fixed = {"interface": "eth0", "ip": "10.0.0.5", "mask": "24", "mtu": "1392"}
        return self.run("dhcp-event", event, **(fixed | variables))


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    guest = Guest(tmp_path)
    guest.stand_in("ip")
    return guest


def test_a_lease_sets_mtu_address_router_and_dns(guest: Guest) -> None:
    said = guest.lease("bound", router="10.0.0.1 10.0.0.9", dns="10.0.0.2 10.0.0.3", domain="lab")

    assert guest.calls() == [
        "ip link set dev eth0 mtu 1392",
        "ip -4 addr flush dev eth0",
        "ip -4 addr add 10.0.0.5/24 dev eth0",
        "ip -4 route replace 0.0.0.0/0 via 10.0.0.1 dev eth0",
    ]
    assert said == ["devenv-guest: address 10.0.0.5/24 mtu=1392"]
    assert guest.resolv_conf.read_text() == (
        "search lab\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n"
    )


def test_static_routes_replace_the_router(guest: Guest) -> None:
    guest.lease(
        "bound",
        router="10.0.0.9",
        staticroutes="169.254.169.254/32 10.0.0.2 192.0.2.0/24 0.0.0.0 0.0.0.0/0 10.0.0.1",
    )

    assert [call for call in guest.calls() if "route" in call] == [
        "ip -4 route replace 169.254.169.254/32 via 10.0.0.2 dev eth0",
        "ip -4 route replace 192.0.2.0/24 dev eth0",
        "ip -4 route replace 0.0.0.0/0 via 10.0.0.1 dev eth0",
    ]


def test_no_mtu_option_leaves_the_mtu_alone(guest: Guest) -> None:
    guest.lease("bound", mtu="", interface="lo")

    assert not [call for call in guest.calls() if "mtu" in call]


def test_a_renewal_keeps_the_address_and_is_silent(guest: Guest) -> None:
    guest.lease("bound", router="10.0.0.1")
    guest.calls()

    assert guest.lease("renew", router="10.0.0.1") == []
    assert not [call for call in guest.calls() if "addr" in call or "del" in call]


def test_a_renewal_drops_only_routes_that_went_away(guest: Guest) -> None:
    guest.lease("bound", staticroutes="192.0.2.0/24 10.0.0.3 0.0.0.0/0 10.0.0.1")
    guest.calls()

    guest.lease("renew", staticroutes="0.0.0.0/0 10.0.0.7")

    assert [call for call in guest.calls() if "route" in call] == [
        "ip -4 route replace 0.0.0.0/0 via 10.0.0.7 dev eth0",
        "ip -4 route del 192.0.2.0/24 via 10.0.0.3 dev eth0",
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [({"mtu": "1400"}, "10.0.0.5/24 mtu=1400"), ({"ip": "10.0.0.6"}, "10.0.0.6/24 mtu=1392")],
)
def test_a_changed_lease_is_said_again(guest: Guest, change: dict[str, str], line: str) -> None:
    guest.lease("bound")

    assert guest.lease("renew", **change) == [f"devenv-guest: address {line}"]


def test_a_lost_lease_is_forgotten(guest: Guest) -> None:
    guest.lease("bound")
    guest.calls()

    guest.lease("deconfig")

    assert guest.calls() == ["ip link set dev eth0 up", "ip -4 addr flush dev eth0"]
    assert guest.lease("bound") == ["devenv-guest: address 10.0.0.5/24 mtu=1392"]


def test_a_route_that_fails_is_said_and_the_others_are_set(guest: Guest) -> None:
    guest.stand_in("ip", 'case "$*" in *192.0.2.0*) exit 2 ;; esac')

    said = guest.lease("bound", staticroutes="192.0.2.0/24 10.9.9.9 0.0.0.0/0 10.0.0.1")

    assert said[0] == "devenv-guest: problem route=192.0.2.0/24 gateway=10.9.9.9"
    assert "ip -4 route replace 0.0.0.0/0 via 10.0.0.1 dev eth0" in guest.calls()


@pytest.fixture
def publish(guest: Guest, tmp_path: Path) -> Callable[[dict[str, str]], None]:
    """Gives a metadata service: `wget` reads below a folder, `sleep` moves pages into it."""
    served, later = tmp_path / "served", tmp_path / "later"
    served.mkdir()
    guest.stand_in("hostname")
    guest.stand_in("sleep", f'cp -R "{later}/." "{served}"')
    # The index of a folder is the page "index" in it.
    guest.stand_in(
        "wget",
        f"""for url; do :; done
page={served}/${{url#http://169.254.169.254/}}
case $page in */) page=${{page}}index ;; esac
exec cat "$page" """,
    )

    def publish(pages: dict[str, str]) -> None:
        for path, text in pages.items():
            page = later / path
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text)

    return publish


PAGES = {
    "2009-04-04/meta-data/index": "hostname\ninstance-id\n",
    "2009-04-04/meta-data/instance-id": "i-0000002a",
    "2009-04-04/meta-data/hostname": "survivor.novalocal",
    "openstack/latest/meta_data.json": json.dumps(
        {"meta": {"parent_uuid": "no"}, "uuid": UUID, "devices": []}
    ),
}
METADATA_LINE = (
    f"devenv-guest: metadata instance-id=i-0000002a hostname=survivor.novalocal uuid={UUID}"
)


def test_metadata_is_asked_for_until_it_answers(
    guest: Guest, publish: Callable[[dict[str, str]], None]
) -> None:
    publish(PAGES)

    assert guest.run("metadata") == [METADATA_LINE]

    calls = guest.calls()
    assert calls.count("sleep 1") == 1  # nothing was served before the first pause
    assert calls[-1] == "hostname survivor.novalocal"
    assert not (guest.state / "public-key").exists()


def test_the_public_key_is_kept(guest: Guest, publish: Callable[[dict[str, str]], None]) -> None:
    publish(
        PAGES
        | {
            "2009-04-04/meta-data/index": "instance-id\npublic-keys/\n",
            "2009-04-04/meta-data/public-keys/0/openssh-key": "ssh-ed25519 AAAA me",
        }
    )

    assert guest.run("metadata") == [METADATA_LINE]
    assert (guest.state / "public-key").read_text() == "ssh-ed25519 AAAA me"


def test_user_data_is_run_once_the_metadata_is_known(
    guest: Guest, publish: Callable[[dict[str, str]], None]
) -> None:
    script = f'#!/bin/sh\necho "the key is $(cat {guest.state}/public-key)"\nexit 3\n'
    publish(
        PAGES
        | {
            "2009-04-04/meta-data/index": "instance-id\npublic-keys/\n",
            "2009-04-04/meta-data/public-keys/0/openssh-key": "ssh-ed25519 AAAA me",
            "openstack/latest/index": "meta_data.json\nuser_data\n",
            "openstack/latest/user_data": script,
        }
    )

    assert guest.run("metadata") == [
        METADATA_LINE,
        "the key is ssh-ed25519 AAAA me",
        "devenv-guest: user-data exit=3",
    ]


@pytest.mark.parametrize("text", ["", "#cloud-config\npackages: [git]\n"])
def test_user_data_that_is_no_script_is_left_alone(
    guest: Guest, publish: Callable[[dict[str, str]], None], text: str
) -> None:
    publish(PAGES | {"openstack/latest/index": "user_data", "openstack/latest/user_data": text})

    assert guest.run("metadata") == [METADATA_LINE]


@pytest.mark.parametrize("known", [True, False])
def test_http_answers_the_state_as_json(guest: Guest, tmp_path: Path, known: bool) -> None:
    proc = tmp_path / "proc"
    (proc / "sys/kernel/random").mkdir(parents=True)
    (proc / "sys/kernel/random/boot_id").write_text(f"{UUID}\n")
    (proc / "uptime").write_text("12.34 11.00\n")
    if known:
        (guest.state / "metadata").mkdir()
        # The service's answers end without a newline.
        (guest.state / "metadata/instance-id").write_text("i-0000002a")
        (guest.state / "metadata/hostname").write_text("survivor.novalocal")
        (guest.state / "heartbeat").write_text("11\n")

    answer = guest.run("tcp/http", PROC=str(proc))

    end_of_head = answer.index("")
    body = "\n".join(answer[end_of_head + 1 :]) + "\n"
    assert answer[0] == "HTTP/1.0 200 OK"
    assert f"Content-Length: {len(body)}" in answer[:end_of_head]
    assert json.loads(body) == {
        "boot_id": UUID,
        "uptime": 12.34,
        "heartbeat": 11 if known else 0,
        "instance_id": "i-0000002a" if known else None,
        "hostname": "survivor.novalocal" if known else None,
    }


def test_inittab_starts_only_what_is_there() -> None:
    words = (ROOTFS / "etc/inittab").read_text().split()
    scripts = [word.rpartition(":")[2] for word in words if "/guest/" in word]

    assert len(scripts) >= 9
    assert [script for script in scripts if not (ROOTFS / script.lstrip("/")).is_file()] == []


@pytest.mark.parametrize(
    "script",
    [path for path in ROOTFS.rglob("*") if path.is_file() and path.name != "inittab"],
    ids=lambda path: path.name,
)
def test_scripts_are_valid_shell(script: Path) -> None:
    done = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
