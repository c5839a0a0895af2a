"""Keys that are wrong: one problem each, at its line, in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Problems = Callable[[str], list[str]]

NODES = "nodes: {aio: {roles: [control, network, compute]}}\n"

# One key at line 3 of a file that is right but for it.
SINGLE = [
    ("nodez: {}", "nodez: unknown key; did you mean nodes?"),
    (
        "xyz: 1",
        "xyz: unknown key; known are version, release, provider, defaults, nodes, networks, "
        "services, images, overrides",
    ),
    ("release: 2026.1", "release: should be text (got 2026.1); put it in quotes"),
    (
        'release: "zed"',
        "release: should be an OpenStack release such as \"2026.1\" (got 'zed')",
    ),
    ("provider: [local]", "provider: should be one of local, vagrant, heat, baremetal (got a list"),
    ("defaults:", "defaults: should be keys and values (got nothing)"),
    ("defaults: {cpus: true}", "defaults.cpus: should be a number (got true)"),
    ("defaults: {cpus: '2'}", "defaults.cpus: should be a number (got '2')"),
    ("defaults: {memory: 4GB}", "defaults.memory: should be a size with a binary unit"),
    ("defaults: {disk: 0G}", "defaults.disk: should be at least 1KiB (got '0G')"),
    ("defaults: {rolls: 1}", "defaults.rolls: unknown key; known are memory, cpus, disk"),
    ("networks: [api]", "networks: should be keys and values (got a list)"),
    ("networks: {api: {cdir: auto}}", "networks.api.cdir: unknown key; did you mean cidr?"),
    (
        "networks: {api: {cidr: 172.30.0.0}}",
        "networks.api.cidr: should be an IPv4 network such as 172.30.0.0/24, or auto (got",
    ),
    (
        "networks: {tenant: {cidr: auto}}",
        "networks.tenant.cidr: should be an IPv4 network such as 172.30.0.0/24 (got 'auto')",
    ),
    (
        "networks: {api: {cidr: 172.30.0.0/29}}",
        "networks.api.cidr: is too small; it should be at least a /28 (got '172.30.0.0/29')",
    ),
    (
        "networks: {external: {cidr: 8.8.8.0/24}}",
        "networks.external.cidr: is not a private network (inside one of 10.0.0.0/8, "
        "172.16.0.0/12, 192.168.0.0/16) (got '8.8.8.0/24')",
    ),
    (
        "networks: {api: {cidr: 192.168.0.0/16}, external: {cidr: 192.168.9.0/24}}",
        "networks.external.cidr: the api network 192.168.0.0/16 and the external network "
        "192.168.9.0/24 overlap",
    ),
    # The tenant network's default is met; the line is that of what was written.
    (
        "networks: {api: {cidr: 10.10.0.0/16}}",
        "networks.api.cidr: the api network 10.10.0.0/16 and the tenant network 10.10.0.0/24 "
        "overlap",
    ),
    (
        "networks: {api: {cidr: 172.30.0.0/24, vip: 172.31.0.9}}",
        "networks.api.vip: 172.31.0.9 is outside the network 172.30.0.0/24",
    ),
    (
        "networks: {api: {cidr: 172.30.0.0/24, vip: 172.30.0.255}}",
        "networks.api.vip: 172.30.0.255 is no host address in 172.30.0.0/24",
    ),
    (
        "networks: {api: {cidr: 172.30.0.0/24, vip: 172.30.0.1}}",
        "networks.api.vip: 172.30.0.1 is the gateway of 172.30.0.0/24",
    ),
    (
        "networks: {api: {vip: 172.30.0.9}}",
        "networks.api.vip: 172.30.0.9 goes with the cidr of its network, not with one that the "
        "provider picks",
    ),
    (
        "networks: {api: {cidr: 172.30.0.0/24, vip: 172.30.0.9}}",
        "networks.api.vip: a virtual IP needs several control nodes; the topology has 1",
    ),
    ("services: {enable: heat}", "services.enable: should be a list (got 'heat')"),
    ("services: {enable: [7]}", "services.enable.0: should be text (got 7); put it in quotes"),
    (
        "services: {enable: [Heat]}",
        "services.enable.0: should be the name of a service, in lower case (got 'Heat')",
    ),
    (
        "services: {enable: [heat, heat]}",
        "services.enable: heat is listed more than once (got a list)",
    ),
    (
        "services: {enable: [heat], disable: [heat]}",
        "services.disable: heat is also in enable",
    ),
    ("images: {from: pypi}", "images.from: should be one of source, distro, registry (got 'pypi')"),
    ("images: {form: source}", "images.form: unknown key; did you mean from?"),
    ("images: {source: distro}", "images.source: unknown key; known are from, registry"),
    ("images: {from: registry}", "images.registry: is required with from: registry"),
    (
        "images: {registry: registry.example.org}",
        "images.registry: goes with from: registry, not source",
    ),
    (
        "images: {from: registry, registry: 'http://x'}",
        "images.registry: should be what stands before an image's name, such as "
        "registry.example.org/kolla (got 'http://x')",
    ),
    (
        "overrides: {Nova: {}}",
        "overrides.Nova: should be the name of a service, in lower case",
    ),
    ("overrides: {nova: {sauce: .}}", "overrides.nova.sauce: unknown key; did you mean source?"),
    ("overrides: {nova: {source: 3}}", "overrides.nova.source: should be the path of a folder"),
    ("overrides: {nova: {source: ''}}", "overrides.nova.source: should be the path of a folder"),
    (
        "overrides: {nova: {config: {debug: true}}}",
        "overrides.nova.config.debug: should be keys and values (got true)",
    ),
    (
        "overrides: {nova: {config: {DEFAULT: {debug: {a: 1}}}}}",
        "overrides.nova.config.DEFAULT.debug: should be text, a number, true or false, or a list "
        "of those (got keys and values)",
    ),
    (
        "overrides: {nova: {config: {DEFAULT: {debug: [1, []]}}}}",
        "overrides.nova.config.DEFAULT.debug: item 2 should be text, a number, true or false (got",
    ),
    (
        "overrides: {nova: {config: {DEFAULT: {debug: }}}}",
        "overrides.nova.config.DEFAULT.debug: should be text, a number, true or false, or a list "
        "of those (got nothing)",
    ),
    (
        "overrides: {nova: {config: {DEFAULT: {debug: 1.0e+999}}}}",
        "overrides.nova.config.DEFAULT.debug: should be text, a number, true or false, or a list "
        "of those (got inf)",
    ),
    ("defaults: {cpus: 1.0e+999}", "defaults.cpus: should be a finite number (got inf)"),
    (
        "overrides: {nova: {config: {'[x]': {}}}}",
        "overrides.nova.config.[x]: should be the name of a section or an option",
    ),
    (
        "overrides: {nova: {files: {../x: {}}}}",
        "overrides.nova.files.../x: should be the name of a config file, without a folder",
    ),
    (
        "overrides: {nova: {config: {DEFAULT: {7: x}}}}",
        "overrides.nova.config.DEFAULT.7: a key should be text: put it in quotes",
    ),
]


@pytest.mark.parametrize(("line", "words"), SINGLE, ids=[line for line, _ in SINGLE])
def test_one_wrong_key(problems: Problems, line: str, words: str) -> None:
    found = problems(
        f"version: 1\n{NODES}{line}\nprovider: local\n".replace(
            "\nprovider: local", "" if line.startswith("provider") else "\nprovider: local"
        ),
    )
    assert len(found) == 1
    assert found[0].startswith(f"3: {words}")


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ("{ctl: {count: 2}}", "2: nodes.ctl.roles: is required"),
        ("{ctl: {roles: []}}", "2: nodes.ctl.roles: should not be empty (got a list)"),
        (
            "{ctl: {roles: [control, control]}}",
            "2: nodes.ctl.roles: control is listed more than once (got a list)",
        ),
        (
            "{ctl: {roles: control}}",
            "2: nodes.ctl.roles: should be a list (got 'control')",
        ),
        ("[ctl]", "2: nodes: should be keys and values (got a list)"),
        ("{1: {roles: [control]}}", "2: nodes.1: a key should be text: put it in quotes"),
        ("{ctl: {count: 0, roles: [control]}}", "2: nodes: there should be at least one node"),
        (
            "{ctl: {count: -1, roles: [control]}}",
            "2: nodes.ctl.count: should be greater than or equal to 0 (got -1)",
        ),
        (
            "{ctl: {count: 2.5, roles: [control]}}",
            "2: nodes.ctl.count: should be a whole number (got 2.5)",
        ),
        (
            "{ctl: {count: 2, roles: [control]},\n  ctl2: {roles: [compute]}}",
            "3: nodes.ctl2: nodes.ctl makes a node named ctl2 too",
        ),
        (
            f"\n  {'c' * 62}:\n    {{count: 10, roles: [control]}}",
            f"3: nodes.{'c' * 62}: {'c' * 62}10 has 64 characters; a host name has at most 63",
        ),
        (
            f"\n  {'c' * 64}: {{roles: [control]}}",
            f"3: nodes.{'c' * 64}: should be a host name",
        ),
        (
            "{ctl: {count: 13, roles: [control]}}\nnetworks: {api: {cidr: 172.30.0.0/28}}",
            "3: networks.api.cidr: 172.30.0.0/28 has room for 12 nodes; the topology has 13",
        ),
        (
            "{ctl: {count: 3, roles: [control]}}\nnetworks: {api: {vip: null}}",
            "3: networks.api.vip: without one, nothing is in front of the APIs of 3 control nodes",
        ),
        (
            "{one: {roles: [control]},\n  two: {roles: [control]}}\nnetworks: {api: {vip: }}",
            "4: networks.api.vip: without one, nothing is in front of the APIs of 2 control nodes",
        ),
    ],
)
def test_wrong_nodes(problems: Problems, nodes: str, words: str) -> None:
    found = problems(f"version: 1\nnodes: {nodes}\n")
    assert len(found) == 1
    assert found[0].startswith(words)
