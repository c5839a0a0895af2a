"""kolla_set_configs: every key and strategy of config.json, run as a program."""

from __future__ import annotations

import grp
import json
import os
import runpy
from pathlib import Path
from typing import Any

import pytest
from kolla_container import BASE, CONFIG_FILES, Container, me, somebody_else

SOURCE = f"{CONFIG_FILES}/nova.conf"
DEST = "/etc/nova/nova.conf"


def test_a_file_gets_its_place_owner_and_perm_and_the_command_is_written(
    container: Container,
) -> None:
    container.source("nova.conf", "[DEFAULT]\n", 0o777)
    container.configure(
        {"source": SOURCE, "dest": DEST, "perm": "0600"}, command="nova-api --x 'a b'"
    )
    container.applied()
    assert container.path(DEST).read_text() == "[DEFAULT]\n"
    assert container.mode(DEST) == 0o600
    assert container.path("/run_command").read_text() == "nova-api --x 'a b'"
    assert container.mode("/run_command") == 0o644


def test_the_service_can_read_its_command_under_any_umask(container: Container) -> None:
    container.configure()
    before = os.umask(0o077)
    try:
        container.applied()
    finally:
        os.umask(before)
    assert container.mode("/run_command") == 0o644


@pytest.mark.parametrize(("perm", "mode"), [("640", 0o640), ("0o600", 0o600), ("2750", 0o2750)])
def test_perm_is_octal_in_each_of_upstreams_notations(
    container: Container, perm: str, mode: int
) -> None:
    container.source("nova.conf", "")
    container.configure({"source": SOURCE, "dest": DEST, "perm": perm})
    container.applied()
    assert container.mode(DEST) == mode


def test_what_was_at_the_destination_is_replaced(container: Container) -> None:
    container.source("nova.conf", "new")
    precious = container.write("/etc/precious", "kept")
    container.write("/etc/folder/old", "old")
    container.path("/etc/link").symlink_to(precious)
    container.path("/etc/folder-link").symlink_to(precious.parent)
    container.configure(
        {"source": SOURCE, "dest": "/etc/folder"},
        {"source": SOURCE, "dest": "/etc/link"},
        {"source": SOURCE, "dest": "/etc/folder-link"},
    )
    container.applied()
    assert container.path("/etc/folder").read_text() == "new"
    assert container.path("/etc/link").read_text() == "new"
    assert container.path("/etc/folder-link").read_text() == "new"
    assert precious.read_text() == "kept"


def test_a_destination_with_a_slash_is_a_folder_and_globs_are_expanded(
    container: Container,
) -> None:
    for name in ("a.conf", "b.conf", "c.txt", ".hidden.conf"):
        container.source(name, name)
    container.write("/etc/x/unrelated", "kept")
    container.configure({"source": f"{CONFIG_FILES}/*.conf", "dest": "/etc/x/"})
    container.applied()
    assert container.tree("/etc/x") == {"a.conf": "a.conf", "b.conf": "b.conf", "unrelated": "kept"}


def test_directories_are_copied_whole_and_may_be_entered_by_who_may_read(
    container: Container,
) -> None:
    container.source("policy/a.yaml", "a", 0o600)
    container.source("policy/deep/b.yaml", "b", 0o600)
    container.write("/etc/policy/stale", "stale")
    container.configure({"source": f"{CONFIG_FILES}/policy", "dest": "/etc/policy", "perm": "0640"})
    container.applied()
    assert container.tree("/etc/policy") == {"a.yaml": "a", "deep/b.yaml": "b"}
    assert container.mode("/etc/policy/deep") == 0o750
    assert container.mode("/etc/policy/deep/b.yaml") == 0o640


def test_a_directory_into_a_folder_keeps_its_name(container: Container) -> None:
    container.source("policy/a.yaml", "a")
    container.configure({"source": f"{CONFIG_FILES}/policy", "dest": "/etc/x/"})
    container.applied()
    assert container.tree("/etc/x") == {"policy/a.yaml": "a"}


@pytest.mark.parametrize("dest", ["/etc/x", "/etc/x/"])
@pytest.mark.parametrize("merge", [True, False])
def test_a_source_with_a_slash_stands_for_its_content(
    container: Container, dest: str, merge: bool
) -> None:
    container.source("policy/a.yaml", "a")
    container.write("/etc/x/there", "before")
    container.configure({"source": f"{CONFIG_FILES}/policy/", "dest": dest, "merge": merge})
    container.applied()
    assert container.tree("/etc/x") == {"a.yaml": "a"} | ({"there": "before"} if merge else {})


def test_merge_keeps_what_is_there_and_replaces_what_is_given(container: Container) -> None:
    container.source("conf/given", "new")
    container.source("conf/sub/given", "new")
    container.write("/etc/x/given", "old")
    container.write("/etc/x/sub/there", "before")
    container.configure({"source": f"{CONFIG_FILES}/conf", "dest": "/etc/x", "merge": True})
    container.applied()
    assert container.tree("/etc/x") == {"given": "new", "sub/given": "new", "sub/there": "before"}


def test_preserve_properties_takes_mode_and_time_from_the_source(container: Container) -> None:
    source = container.source("script", "#!/bin/sh\n", 0o751)
    os.utime(container.path(source), (1_000_000_000, 1_000_000_000))
    container.configure({"source": source, "dest": "/opt/script", "preserve_properties": True})
    container.applied()
    assert container.mode("/opt/script") == 0o751
    assert container.path("/opt/script").stat().st_mtime == 1_000_000_000
    assert container.set_configs("--check").returncode == 0


@pytest.mark.parametrize("keep", [True, False])
def test_links_are_kept_by_merge_with_preserve_properties_and_else_followed(
    container: Container, keep: bool
) -> None:
    container.source("conf/real", "text")
    container.path(f"{CONFIG_FILES}/conf/link").symlink_to("real")
    container.configure(
        {
            "source": f"{CONFIG_FILES}/conf",
            "dest": "/etc/x",
            "preserve_properties": True,
            "merge": keep,
        }
    )
    container.applied()
    container.applied()  # A link that is there already is no obstacle.
    assert container.path("/etc/x/link").is_symlink() == keep
    assert container.path("/etc/x/link").read_text() == "text"
    assert container.set_configs("--check").returncode == 0


def test_ignore_globs_and_exclude_leave_out_names_and_paths(container: Container) -> None:
    for name in ("a.conf", "a.swp", "deep/b.conf", "deep/b.swp", "secret/c.conf"):
        container.source(f"conf/{name}", name)
    container.configure(
        {
            "source": f"{CONFIG_FILES}/conf",
            "dest": "/etc/x",
            "ignore_globs": ["*.swp", "*.bak"],
            "exclude": [f"^{CONFIG_FILES}/conf/secret", "nothing"],
        }
    )
    container.applied()
    assert container.tree("/etc/x") == {"a.conf": "a.conf", "deep/b.conf": "deep/b.conf"}
    assert container.set_configs("--check").returncode == 0


def test_an_excluded_source_leaves_its_destination_alone(container: Container) -> None:
    container.source("a.conf", "new")
    container.source("b.conf", "new")
    container.write("/etc/x/b.conf", "old")
    container.configure(
        {"source": f"{CONFIG_FILES}/*.conf", "dest": "/etc/x/", "ignore_globs": ["b*"]}
    )
    container.applied()
    assert container.tree("/etc/x") == {"a.conf": "new", "b.conf": "old"}


def test_an_optional_source_may_be_missing_and_then_the_destination_stays(
    container: Container,
) -> None:
    container.write(DEST, "of the image")
    container.configure({"source": SOURCE, "dest": DEST, "optional": True})
    container.applied()
    assert container.path(DEST).read_text() == "of the image"
    assert container.set_configs("--check").returncode == 0


@pytest.mark.parametrize("source", [SOURCE, f"{CONFIG_FILES}/nova*"])
def test_a_missing_source_fails_before_the_command_is_written(
    container: Container, source: str
) -> None:
    container.configure({"source": source, "dest": DEST})
    assert f"{source} is missing and not optional (for {DEST})" in container.refused()
    assert not container.path("/run_command").exists()


def test_permissions_change_a_path_that_a_glob_finds_and_nothing_below_it(
    container: Container,
) -> None:
    container.write("/var/log/kolla/nova/a.log", "", 0o600)
    container.configure(permissions=[{"path": "/var/log/k*/nova", "owner": me(), "perm": "0750"}])
    container.applied()
    assert container.mode("/var/log/kolla/nova") == 0o750
    assert container.mode("/var/log/kolla/nova/a.log") == 0o600


def test_recursive_permissions_reach_all_but_what_is_excluded(container: Container) -> None:
    for name in ("a.log", "deep/b.log", "snapshot1/c", "lost+found/d"):
        container.write(f"/var/lib/x/{name}", "", 0o600)
    entry = {
        "path": "/var/lib/x",
        "owner": me(),
        "perm": "0640",
        "recurse": True,
        "exclude": ["^/var/lib/x/snap", r"lost\+found"],
    }
    container.configure(permissions=[entry])
    container.applied()
    assert container.mode("/var/lib/x/deep") == 0o750
    modes = {name: container.mode(f"/var/lib/x/{name}") for name in container.tree("/var/lib/x")}
    assert modes == {
        "a.log": 0o640,
        "deep/b.log": 0o640,
        "snapshot1/c": 0o600,
        "lost+found/d": 0o600,
    }


def test_recursive_permissions_do_not_follow_the_services_links(container: Container) -> None:
    victim = container.write("/etc/shadow", "", 0o600)
    container.write("/var/lib/x/a", "")
    container.path("/var/lib/x/link").symlink_to(victim)
    container.configure(
        permissions=[{"path": "/var/lib/x", "owner": me(), "perm": "0666", "recurse": True}]
    )
    container.applied()
    assert container.mode("/var/lib/x/a") == 0o666
    assert container.mode("/etc/shadow") == 0o600


def test_permissions_without_perm_or_without_the_path_are_no_error(container: Container) -> None:
    container.write("/var/lib/x/a", "", 0o604)
    container.configure(
        permissions=[{"path": "/var/lib/x/a", "owner": me()}, {"path": "/nowhere", "owner": me()}]
    )
    container.applied()
    assert container.mode("/var/lib/x/a") == 0o604


@pytest.mark.parametrize("owner", ["{user}", "{user}:", "{user}:{group}"])
def test_files_and_permissions_are_given_to_the_owner(
    container: Container, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    user, group = somebody_else()
    owner = owner.format(user=user.pw_name, group=group.gr_name)
    gid = group.gr_gid if owner.endswith(group.gr_name) else grp.getgrnam(user.pw_name).gr_gid
    container.source("nova.conf", "")
    container.write("/var/lib/x", "")
    container.configure(
        {"source": SOURCE, "dest": DEST, "owner": owner},
        permissions=[{"path": "/var/lib/x", "owner": owner}],
    )
    given: dict[Path, tuple[int, int]] = {}
    monkeypatch.setattr(os, "chown", lambda path, *ids: given.update({Path(path): ids}))
    monkeypatch.setenv("KOLLA_CONFIG_STRATEGY", "COPY_ALWAYS")
    main = runpy.run_path(str(BASE / "kolla_set_configs"))["main"]
    assert main([], container.root) == 0
    ids = (user.pw_uid, gid)
    assert given == {container.path(DEST): ids, container.path("/var/lib/x"): ids}


@pytest.mark.skipif(os.getuid() == 0, reason="root may give files away")
def test_an_owner_that_cannot_be_set_is_an_error(container: Container) -> None:
    container.source("nova.conf", "")
    container.configure({"source": SOURCE, "dest": DEST, "owner": "root:root"})
    error = container.refused()
    assert "Operation not permitted" in error
    assert DEST in error


class TestStrategy:
    """KOLLA_CONFIG_STRATEGY."""

    def test_copy_always_copies_at_every_start(self, container: Container) -> None:
        container.source("nova.conf", "one")
        container.configure({"source": SOURCE, "dest": DEST})
        container.applied()
        container.source("nova.conf", "two")
        container.configure({"source": SOURCE, "dest": DEST}, command="other")
        container.applied()
        assert container.path(DEST).read_text() == "two"
        assert container.path("/run_command").read_text() == "other"
        assert not container.path("/configured").exists()

    def test_copy_once_copies_at_the_first_start_only(self, container: Container) -> None:
        container.source("nova.conf", "one")
        container.configure({"source": SOURCE, "dest": DEST})
        container.applied(strategy="COPY_ONCE")
        assert container.path("/configured").exists()
        container.source("nova.conf", "two")
        assert "COPY_ONCE" in container.applied(strategy="COPY_ONCE")
        assert container.path(DEST).read_text() == "one"

    def test_copy_once_that_failed_is_tried_again(self, container: Container) -> None:
        container.configure({"source": SOURCE, "dest": DEST})
        container.refused(strategy="COPY_ONCE")
        container.source("nova.conf", "one")
        container.applied(strategy="COPY_ONCE")
        assert container.path(DEST).read_text() == "one"

    @pytest.mark.parametrize("strategy", ["", "COPY_SOMETIMES"])
    def test_another_strategy_is_refused(self, container: Container, strategy: str) -> None:
        container.configure()
        error = container.refused(strategy=strategy)
        assert f"KOLLA_CONFIG_STRATEGY is {strategy!r}, not COPY_ALWAYS or COPY_ONCE" in error


ENTRY = {"source": SOURCE, "dest": DEST, "owner": "root", "perm": "0600"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "config.json is not JSON: Expecting property name"),
        (b"\xff", "config.json is not JSON: "),
        ([], "must hold an object"),
        ({}, 'needs a "command"'),
        ({"command": " "}, 'needs a "command"'),
        ({"command": ["a"]}, 'needs a "command"'),
        ({"command": "a", "config_file": []}, "the file has config_file; known are command, "),
        ({"command": "a", "config_files": {}}, "config_files must be a list"),
        ({"command": "a", "config_files": ["a"]}, "config_files[0] must be an object"),
        ({"config_files": [{"source": "/a"}]}, "config_files[0] needs 'dest'"),
        ({"config_files": [{"source": "/a", "dest": DEST}]}, f"({DEST}) needs owner and perm"),
        ({"config_files": [ENTRY | {"perms": "1"}]}, "config_files[0] has perms; known are source"),
        ({"config_files": [ENTRY | {"perm": "0968"}]}, "perm '0968' is not octal"),
        ({"config_files": [ENTRY | {"perm": 640}]}, "config_files[0]: 'perm' must be a str"),
        ({"config_files": [ENTRY | {"merge": "yes"}]}, "config_files[0]: 'merge' must be a bool"),
        (
            {"config_files": [ENTRY | {"ignore_globs": "*"}]},
            "'ignore_globs' must be a list of strings",
        ),
        ({"config_files": [ENTRY | {"exclude": [1]}]}, "'exclude' must be a list of strings"),
        ({"config_files": [ENTRY, ENTRY | {"exclude": ["("]}]}, "config_files[1]: exclude '('"),
        ({"permissions": [{"path": "/a"}]}, "permissions[0] needs 'owner'"),
        ({"permissions": [{"path": "/", "owner": "no.such"}]}, "owner 'no.such': "),
    ],
)
def test_a_config_that_cannot_be_followed_is_refused_in_words(
    container: Container, config: Any, message: str
) -> None:
    if isinstance(config, dict) and ("config_files" in config or "permissions" in config):
        config = {"command": "a", **config}
    data = config if isinstance(config, str | bytes) else json.dumps(config)
    path = container.path(f"{CONFIG_FILES}/config.json")
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    assert message in container.refused()
    assert not container.path("/run_command").exists()


def test_no_config_is_refused_in_words(container: Container) -> None:
    error = container.refused()
    assert f"cannot read {CONFIG_FILES}/config.json: No such file or directory" in error


def test_the_environment_and_arguments_choose_no_other_config(container: Container) -> None:
    """The service's user controls both, and this runs as root: CVE-2022-38060."""
    container.configure(command="right")
    other = json.dumps({"command": "wrong"})
    path = container.write("/tmp/config.json", other)
    container.applied(KOLLA_CONFIG=other, KOLLA_CONFIG_FILE=str(path))
    assert container.path("/run_command").read_text() == "right"
    assert container.set_configs("--root", "/tmp").returncode == 2
    assert (BASE / "kolla_set_configs").read_text().startswith("#!/usr/bin/python3 -I")
