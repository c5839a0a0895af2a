"""Files and presets: what comes back, and where each error points."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devenv.core.errors import InputError
from devenv.topology.document import DocumentError, read
from devenv.topology.load import load, presets

NODES = "nodes: {aio: {roles: [control, network, compute]}}\n"


Problems = Callable[[str], list[str]]


def write(folder: Path, text: str) -> Path:
    path = folder / "rack.yaml"
    path.write_text(textwrap.dedent(text).lstrip("\n"))
    return path


def test_presets_load() -> None:
    assert presets() == ("aio", "multinode")
    aio, multinode = load("aio"), load("multinode")
    assert (aio.source, multinode.source) == ("aio", "multinode")
    assert [spec.name for spec in aio.topology.node_specs()] == ["aio"]
    assert aio.topology.node_specs()[0].roles == {"control", "network", "compute"}
    assert aio.topology.node_specs()[0].memory == 12 * 1024**3
    names = [spec.name for spec in multinode.topology.node_specs()]
    assert names == ["ctl1", "ctl2", "ctl3", "cmp1", "cmp2"]
    assert multinode.topology.warnings() == []
    assert multinode.topology.networks.api.vip == "auto"
    assert multinode.text.startswith("# High availability")


def test_a_file_in_the_current_folder_does_not_hide_a_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aio").write_text("version: 1\nnodes: {mine: {roles: [compute]}}\n")
    assert load("aio").source == "aio"
    mine = load("./aio")
    assert mine.source == str(tmp_path / "aio")
    assert [spec.name for spec in mine.topology.node_specs()] == ["mine"]
    assert mine.where("nodes") == "./aio:2"


def test_where_gives_the_line_of_a_key(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        # a comment
        version: 1
        nodes:
          ctl:
            count: 3
            roles:
              - control
              - network
        services: {enable: [heat]}
        """,
    )
    where = load(path).where
    assert where() == f"{path}:2"
    assert where("nodes", "ctl", "count") == f"{path}:5"
    assert where("nodes", "ctl", "roles", 1) == f"{path}:8"
    assert where("services", "enable", 0) == f"{path}:9"
    # What is not there has the line of what would hold it.
    assert where("nodes", "ctl", "memory") == f"{path}:4"
    assert where("networks", "api", "vip") == f"{path}:2"


def test_a_merged_key_has_the_line_where_it_is_written(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        version: 1
        nodes:
          ctl: &base
            roles: [control]
            memory: 2GiB
          cmp: &other
            <<: *base
            roles: [compute]
          net: {<<: *base}
          more: *other
        """,
    )
    loaded = load(path)
    assert loaded.topology.nodes["cmp"].memory == 2 * 1024**3
    assert loaded.topology.nodes["cmp"].roles == ("compute",)
    assert loaded.where("nodes", "cmp", "memory") == f"{path}:5"
    assert loaded.where("nodes", "cmp", "roles") == f"{path}:8"
    assert loaded.where("nodes", "net", "roles") == f"{path}:4"
    assert loaded.where("nodes", "more", "roles") == f"{path}:8"


def test_checkouts_start_at_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nova").mkdir()
    (tmp_path / "topologies").mkdir()
    path = write(
        tmp_path / "topologies", f"version: 1\n{NODES}overrides: {{nova: {{source: ../nova}}}}\n"
    )
    monkeypatch.chdir(tmp_path / "topologies")
    for source in (path, "rack.yaml"):
        loaded = load(source)
        assert loaded.topology.overrides["nova"].source == tmp_path / "nova"
        assert loaded.source == str(path)


def test_every_problem_is_listed_in_the_order_of_the_file(
    tmp_path: Path, problems: Problems
) -> None:
    found = problems(
        """
        version: 1
        releese: "2026.1"
        provider: vagrnat
        defaults: {memory: 4}
        nodes:
          ctl: {count: three, roles: [contrl, network]}
          Cmp_1:
            roles: [compute]
            cpus: -1
        networks:
          api:
            cidr: 172.30.0.1/24
            vip: 172.30.0
        overrides:
          nova:
            source: nowhere
        """,
    )
    assert found == [
        "2: releese: unknown key; did you mean release?",
        "3: provider: should be one of local, vagrant, heat, baremetal (got 'vagrnat'); "
        "did you mean vagrant?",
        "4: defaults.memory: should be a size with a binary unit, such as 512MiB, 4GiB or 4G "
        "(got 4)",
        "6: nodes.ctl.count: should be a whole number (got 'three')",
        "6: nodes.ctl.roles.0: should be one of control, network, compute (got 'contrl'); "
        "did you mean control?",
        "7: nodes.Cmp_1: should be a host name: at most 63 lower-case letters, digits and "
        "hyphens, with a letter or a digit at both ends",
        "9: nodes.Cmp_1.cpus: should be greater than 0 (got -1)",
        "12: networks.api.cidr: has host bits set; did you mean 172.30.0.0/24? "
        "(got '172.30.0.1/24')",
        "13: networks.api.vip: should be an IPv4 address, auto, or null for none (got '172.30.0')",
        f"16: overrides.nova.source: the folder {tmp_path / 'nowhere'} does not exist "
        "(got 'nowhere')",
    ]


def test_the_error_reads_well_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "version: 1\nnodes: {}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load("rack.yaml")
    assert str(caught.value) == (
        "the topology rack.yaml has a problem\n"
        "    rack.yaml:2: nodes: there should be at least one node\n"
        "  -> `devenv export topology-schema` describes every key"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "1: the file is empty; it should say `version: 1` and `nodes:`"),
        ("# nothing\n---\n", "1: the file is empty; it should say `version: 1` and `nodes:`"),
        (
            "\n# a list\n- ctl\n",
            "2: the file should be keys and values, starting with `version: 1` (got a list)",
        ),
        ("hello", "1: the file should be keys and values, starting with `version: 1` (got 'he"),
        ("nodes: {}\nversion: 2\nfuture: {}\n", "2: version: this devenv reads version 1 (got 2)"),
        (f"{NODES}version: '1'\n", "2: version: this devenv reads version 1 (got '1')"),
        (f"{NODES}version: true\n", "2: version: this devenv reads version 1 (got true)"),
        (NODES, "1: version: is required"),
        ("version: 1\n", "1: nodes: is required"),
        (
            "version: 1\nnodes:\n  a: {roles: [control}\n",
            "3:22: while parsing a flow sequence, expected",
        ),
        ("version: 1\nnodes:\n\ta: 1\n", "3:1: "),
        ("version: 1\nnodes: *gone\n", "2:8: found undefined alias 'gone'"),
        ("version: 1\n---\nversion: 1\n", "2:1: expected a single document"),
        ("version: 1\nnodes: !!python/name:os.system ''\n", "2:8: "),
        ("version: 1\nnodes: !!int x\n", " a value that does not fit its type: "),
        ("version: 1\nnodes: &a {b: *a}\n", " it is nested too deeply, or an alias refers to itse"),
        ("a: " + "[" * 3000, " it is nested too deeply, or an alias refers to itself"),
        ("version: 1\nnodes: \x07\n", "2: a character that YAML forbids"),
        (
            f"version: 1\n{NODES}release: '2026.1'\nprovider: local\nrelease: '2026.1'\n",
            "5:1: the key 'release' stands twice, first on line 3",
        ),
        (
            "version: 1\nnodes:\n  a:\n    count: 1\n    roles: []\n    count: 1\n",
            "6:5: the key 'count' stands twice, first on line 4",
        ),
        ("{a: 1, a: 2}", "1:8: the key 'a' stands twice, first on line 1"),
    ],
)
def test_a_file_that_is_no_topology(problems: Problems, text: str, words: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(words)


def test_no_such_preset_or_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load("multinod")
    assert str(caught.value) == (
        "there is no topology 'multinod': no preset has that name, and no file; "
        "did you mean multinode?\n"
        "  -> presets are aio, multinode; anything else is the path of a YAML file"
    )
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "rack.yaml"))):
        load(tmp_path / "rack.yaml")
    with pytest.raises(InputError, match="Is a directory"):
        load(tmp_path)
    with pytest.raises(InputError, match="cannot read"):
        load("a\0b")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "rack.yaml"
    path.write_bytes(b"version: 1\n# \xff\n")
    with pytest.raises(InputError, match=r":2: it is not UTF-8 text"):
        load(path)


def test_a_checkout_that_is_a_file(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "nova").touch()
    found = problems(f"version: 1\n{NODES}overrides:\n  nova:\n    source: nova\n")
    assert found == [
        f"5: overrides.nova.source: the folder {tmp_path / 'nova'} is not a folder (got 'nova')"
    ]


@pytest.mark.parametrize("word", ["on", "yes", "No", "0644", "1:30", "2026-01-01", "0x1f", "1_0"])
def test_words_that_yaml_1_1_would_change_stay_as_typed(word: str) -> None:
    assert read(f"a: {word}").data == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"), [("true", True), ("False", False), ("~", None), ("-7", -7), ("0.5", 0.5)]
)
def test_words_that_are_more_than_text(word: str, value: object) -> None:
    found = read(f"a: {word}").data["a"]
    assert found == value
    assert type(found) is type(value)


@given(st.text(alphabet="ab1:- \n\t[]{}&*!|>'\"%#,?<\0\ufeff\u0085~.", max_size=60))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        document = read(text)
    except DocumentError as error:
        assert error.text
    else:
        count = len(re.split("\r\n|[\r\n\u0085\u2028\u2029]", text))
        assert all(1 <= line <= count for line in document.lines.values())
