"""The user's clouds.yaml: our entry comes and goes, and nothing else in the file moves."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from devenv.access import clouds
from devenv.access.clouds import Cloud
from devenv.core.errors import DevenvError

CLOUD = Cloud("lab", "http://172.30.0.11:5000/v3", "open sesame")
OTHER = """\
# My clouds. Do not lose this comment.
cache:
  expiration_time: 3600

clouds:
  # work
  work:
    auth: {auth_url: https://work.example.org, username: me}
    region_name: "One"

  home: {auth_type: none}   # no password

# the end
"""
DEEP = OTHER.replace("\n  ", "\n      ").replace("      expiration", "  expiration")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config/openstack/clouds.yaml"


def written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return file


def read(file: Path) -> dict[str, object]:
    found = yaml.safe_load(file.read_text())["clouds"]
    assert isinstance(found, dict)
    return found


def test_no_file(file: Path) -> None:
    clouds.add(CLOUD, file)
    assert read(file) == {"devenv-lab": CLOUD.entry()}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert clouds.remove("devenv-lab", file)
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("text", [OTHER, DEEP], ids=["two spaces", "six spaces"])
def test_other_clouds_and_comments_are_not_touched(file: Path, text: str) -> None:
    written(file, text)
    before = read(file)
    clouds.add(CLOUD, file)
    assert read(file) == {**before, "devenv-lab": CLOUD.entry()}
    ours = [line for line in file.read_text().splitlines() if line not in text.splitlines()]
    assert "# My clouds. Do not lose this comment." not in ours
    assert clouds.remove("devenv-lab", file)
    assert file.read_text() == text


def test_the_file_is_private_afterwards(file: Path) -> None:
    """It holds a password now."""
    written(file, OTHER).chmod(0o644)
    clouds.add(CLOUD, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_twice_is_once(file: Path) -> None:
    written(file, OTHER)
    clouds.add(CLOUD, file)
    once = file.read_text()
    clouds.add(CLOUD, file)
    assert file.read_text() == once


def test_a_new_password_replaces_the_old_one(file: Path) -> None:
    written(file, OTHER)
    clouds.add(CLOUD, file)
    new = Cloud("lab", CLOUD.auth_url, "another")
    clouds.add(new, file)
    assert read(file)["devenv-lab"] == new.entry()
    assert "open sesame" not in file.read_text()


def test_two_environments_side_by_side(file: Path) -> None:
    second = Cloud("lab-2", CLOUD.auth_url, "two")
    clouds.add(CLOUD, file)
    clouds.add(second, file)
    assert read(file).keys() == {"devenv-lab", "devenv-lab-2"}
    assert clouds.remove("devenv-lab", file)
    assert read(file) == {"devenv-lab-2": second.entry()}
    assert clouds.remove("devenv-lab-2", file)
    assert not file.exists()


@pytest.mark.parametrize(
    "text",
    [
        "clouds:\n",
        "clouds: {}\n",
        "clouds: { }  # none yet\n",
        "clouds:  # mine\n",
        "clouds: null\n",
        "clouds: ~\n",
        "",
        "# nothing yet\n",
        "cache: {class: dogpile}\n",
        "clouds:\ncache:\n    x: 1\n",
        "---\nclouds:\n    work: {auth_type: none}\n",
        "clouds:\n    work: {auth_type: none}",
    ],
)
def test_files_of_all_kinds(file: Path, text: str) -> None:
    written(file, text)
    before = yaml.safe_load(text) or {}
    clouds.add(CLOUD, file)
    after = yaml.safe_load(file.read_text())
    assert after.pop("clouds") == {
        **(before.pop("clouds", None) or {}),
        "devenv-lab": CLOUD.entry(),
    }
    assert after == before
    assert clouds.remove("devenv-lab", file)
    if file.exists():
        left = yaml.safe_load(file.read_text()) or {}
        was = yaml.safe_load(text) or {}
        assert (left.pop("clouds", None) or {}) == (was.pop("clouds", None) or {})
        assert left == was


@pytest.mark.parametrize(
    "text",
    [
        "clouds: [\n",
        "clouds:\n  a: b: c\n",
        "- a list\n",
        "just words\n",
        "clouds: {work: {auth_type: none}}\n",
        "clouds: [work]\n",
        "clouds: words\n",
        '"clouds":\n  work: {auth_type: none}\n',
    ],
)
def test_what_cannot_be_added_to_stays_as_it_is(file: Path, text: str) -> None:
    written(file, text)
    with pytest.raises(DevenvError) as caught:
        clouds.add(CLOUD, file)
    assert str(file) in caught.value.message
    assert caught.value.remedy
    assert file.read_text() == text
    assert list(file.parent.iterdir()) == [file]


def test_removing_what_is_not_there(file: Path) -> None:
    assert not clouds.remove("devenv-lab", file)
    written(file, OTHER)
    assert not clouds.remove("devenv-lab", file)
    assert file.read_text() == OTHER


def test_an_entry_that_devenv_did_not_write_is_not_removed(file: Path) -> None:
    text = "clouds:\n  devenv-lab: {auth_type: none}\n"
    written(file, text)
    assert not clouds.remove("devenv-lab", file)
    assert file.read_text() == text


NAMES = st.text("abcz-", min_size=1, max_size=8).filter(lambda name: not name.startswith("-"))


@given(
    st.dictionaries(NAMES, st.dictionaries(NAMES, NAMES, min_size=1, max_size=3), min_size=1),
    st.integers(1, 8),
    st.dictionaries(NAMES, NAMES, max_size=2),
)
def test_any_file_comes_back_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory,
    entries: dict[str, dict[str, str]],
    indent: int,
    rest: dict[str, str],
) -> None:
    file = tmp_path_factory.mktemp("any") / "clouds.yaml"
    text = "".join(f"{name}: {value}\n" for name, value in rest.items()) + "clouds:\n"
    for name, options in entries.items():
        text += f"{' ' * indent}{name}:\n"
        text += "".join(f"{' ' * 2 * indent}{key}: {value}\n" for key, value in options.items())
    file.write_text(text)
    before = read(file)
    clouds.add(CLOUD, file)
    assert read(file) == {**before, "devenv-lab": CLOUD.entry()}
    clouds.remove("devenv-lab", file)
    assert file.read_text() == text


def test_openrc_in_a_shell() -> None:
    shown = "env -0 | grep -z ^OS_"
    done = subprocess.run(
        ["sh", "-c", f"{CLOUD.openrc()}{shown}"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair) == {
        "OS_AUTH_URL": "http://172.30.0.11:5000/v3",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": "open sesame",
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": "RegionOne",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_INTERFACE": "public",
    }


def test_openstacksdk_reads_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that every client looks the cloud up with."""
    from openstack.config import OpenStackConfig

    clouds.add(CLOUD, written(file, OTHER))
    for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    region = OpenStackConfig(config_files=[str(file)]).get_one("devenv-lab")
    assert region.auth["auth_url"] == CLOUD.auth_url
    assert region.auth["password"] == "open sesame"
    assert region.region_name == "RegionOne"


def test_as_yaml() -> None:
    assert yaml.safe_load(CLOUD.as_yaml()) == {"clouds": {"devenv-lab": CLOUD.entry()}}


def test_user_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OS_CLIENT_CONFIG_FILE", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert clouds.user_file() == Path("/home/me/.config/openstack/clouds.yaml")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    assert clouds.user_file() == Path("/x/openstack/clouds.yaml")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", "/y/c.yaml")
    assert clouds.user_file() == Path("/y/c.yaml")
