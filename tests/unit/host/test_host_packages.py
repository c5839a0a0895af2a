from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from devenv.core.errors import HostError
from devenv.host.packages import apt_install, packages_check
from devenv.host.system import family

Commands = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ({"ID": "debian"}, "debian"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "debian"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "fedora"),
        ({"ID": "arch"}, "other"),
        ({}, "other"),
    ],
)
def test_family(monkeypatch: pytest.MonkeyPatch, release: dict[str, str], expected: str) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: release)
    assert family() == expected


def test_what_is_missing_is_named_with_its_package_once(
    commands: Commands, debian_root: None
) -> None:
    commands("ssh", "")
    wanted = {"ssh": "openssh-client", "qemu-img": "qemu-utils", "qemu-nbd": "qemu-utils"}
    check = packages_check(wanted)
    assert not check.ok
    assert check.found == "qemu-img, qemu-nbd not found (2 of 3)"
    assert check.remedy == "apt-get install -y --no-install-recommends qemu-utils"
    assert check.fix is not None and "qemu-utils" in check.fix.says
    commands("qemu-img", "")
    commands("qemu-nbd", "")
    assert packages_check(wanted).ok


def test_fedora_gets_its_own_names_and_no_fix(
    commands: Commands, debian_root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "fedora"})
    check = packages_check({"ssh": "openssh-client", "mmdebstrap": "mmdebstrap"})
    assert check.fix is None
    assert check.remedy == "dnf install -y openssh-clients mmdebstrap"


def test_another_system_is_told_both_names(
    commands: Commands, debian_root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "arch"})
    remedy = packages_check({"ssh": "openssh-client"}).remedy
    assert "openssh-client " in remedy and "openssh-clients" in remedy


def test_without_root_there_is_no_fix(
    commands: Commands, debian_root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    check = packages_check({"ssh": "openssh-client"})
    assert check.fix is None and check.remedy.startswith("sudo apt-get")


def test_apt_updates_then_installs_without_questions(
    commands: Commands, debian_root: None, tmp_path: Path
) -> None:
    commands("apt-get", f'echo "$DEBIAN_FRONTEND $*" >>{tmp_path}/calls')
    apt_install(["docker.io", "iptables"])
    update, install = (tmp_path / "calls").read_text().splitlines()
    assert update == "noninteractive update"
    assert install.startswith("noninteractive install --yes --no-install-recommends --no-remove")
    assert install.endswith("-- docker.io iptables")


def test_a_broken_source_does_not_stop_what_can_be_installed(
    commands: Commands, debian_root: None
) -> None:
    commands("apt-get", '[ "$1" = install ]')
    apt_install(["mmdebstrap"])


def test_apt_that_fails_shows_its_last_lines(commands: Commands, debian_root: None) -> None:
    commands(
        "apt-get",
        '[ "$1" = update ] && { echo "E: no route to the mirror"; exit 100; }\n'
        'seq 100; echo "E: Unable to locate package nonesuch" >&2; exit 100',
    )
    with pytest.raises(HostError) as caught:
        apt_install(["nonesuch"])
    detail = (caught.value.detail or "").splitlines()
    assert detail[0] == "E: no route to the mirror"
    assert detail[-1] == "E: Unable to locate package nonesuch"
    assert "100" in detail and "50" not in detail
    assert "code 100" in caught.value.message


def test_no_apt_at_all(commands: Commands, debian_root: None) -> None:
    with pytest.raises(HostError, match="apt-get could not be run"):
        apt_install(["x"])
