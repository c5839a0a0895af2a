"""The committed lock: nothing is installed whose content was not seen when it was made."""

from __future__ import annotations

import re

from devenv.images import lock

TEXT = (lock.folder() / "requirements.lock").read_text()
#: Each distribution with the lines that belong to it.
ENTRIES = [
    block for block in re.split(r"\n(?=[a-z0-9])", TEXT) if re.match(r"[a-z0-9][^\n]*==", block)
]


def test_every_line_belongs_to_an_entry() -> None:
    lines = [line for line in TEXT.splitlines() if line and not line.lstrip().startswith("#")]
    inside = [line for block in ENTRIES for line in block.splitlines()]
    assert [line for line in lines if line not in inside] == []
    assert len(ENTRIES) > 100


def test_every_entry_is_pinned_once_and_has_hashes() -> None:
    names = []
    for block in ENTRIES:
        head = block.splitlines()[0]
        match = re.fullmatch(r"([a-z0-9][a-z0-9._-]*)==([0-9][^ ;]*)( ; .*)? \\", head)
        assert match, head
        names.append(match[1])
        hashes = re.findall(r"--hash=(\w+):([0-9a-f]+)", block)
        assert hashes, head
        assert {(kind, len(value)) for kind, value in hashes} == {("sha256", 64)}, head
    assert len(names) == len(set(names))


def test_every_requirement_is_pinned() -> None:
    wanted = {
        re.split(r"[<>=!~\[ ;]", line)[0].lower()
        for line in (lock.folder() / "requirements.in").read_text().splitlines()
        if line and not line.startswith("#")
    }
    assert {"keystone", "glance", "openstack-placement", "nova", "neutron"} <= wanted
    assert wanted <= {block.split("==")[0] for block in ENTRIES}
