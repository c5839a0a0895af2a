"""glance's replicate.py against a keystone and three glances."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from glance_cloud import Cloud, serve
from service_places import AIO, MULTINODE, SERVICES, renderer

from devenv.core.wait import NotYet, wait_until

PROGRAM = next(s.folder for s in SERVICES if s.name == "glance") / "templates" / "replicate.py"
HOUR = 3600.0


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("replicate", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


replicate = load()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with serve() as cloud:
        yield cloud


@pytest.fixture
def config(cloud: Cloud, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "images").mkdir()
    return {
        "auth": {
            "auth_url": f"{cloud.url}/keystone/v3",
            "username": "admin",
            "password": "secret",
            "project_name": "admin",
            "user_domain_id": "default",
            "project_domain_id": "default",
        },
        "own": f"{cloud.url}/ctl1",
        "peers": {"ctl2": f"{cloud.url}/ctl2", "ctl3": f"{cloud.url}/ctl3"},
        "store": str(tmp_path / "images"),
        "ok": str(tmp_path / "replicate.ok"),
    }


@pytest.fixture
def store(config: dict[str, Any]) -> Path:
    return Path(config["store"])


@pytest.fixture
def replicator(config: dict[str, Any]) -> Any:
    return replicate.Replicator(config)


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


def until(condition: Callable[[], object], what: str) -> None:
    def check() -> None:
        if not condition():
            raise NotYet("not so")

    wait_until(check, what=what, timeout=20, interval=0.02)


def test_fetches_what_is_missing(cloud: Cloud, store: Path, replicator: Any) -> None:
    big = bytes(range(256)) * 4000  # Several reads.
    plain = cloud.image(big, "ctl2")
    hidden = cloud.image(b"hidden", "ctl3", os_hidden=True, visibility="community")
    empty = cloud.image(b"", "ctl2")
    here = cloud.image(b"here", "ctl1")
    (store / here).write_bytes(b"here")
    cloud.asked.clear()
    assert replicator.round() == (3, 0)
    assert contents(store) == {plain: big, hidden: b"hidden", empty: b"", here: b"here"}
    assert not any(here in path for path in cloud.asked)
    cloud.asked.clear()
    assert replicator.round() == (0, 0)
    assert not any(path.endswith("/file") for path in cloud.asked)


def test_follows_pages(cloud: Cloud, store: Path, replicator: Any) -> None:
    cloud.page = 2
    wanted = {cloud.image(bytes([n]), "ctl2"): bytes([n]) for n in range(5)}
    assert replicator.round() == (5, 0)
    assert contents(store) == wanted


@pytest.mark.parametrize(
    "bad", [b"other data", b"longer than the data", b"short", b""], ids=lambda bad: bad.decode()
)
def test_bad_data_is_discarded_and_the_next_peer_asked(
    cloud: Cloud, store: Path, replicator: Any, capsys: pytest.CaptureFixture[str], bad: bytes
) -> None:
    image = cloud.image(b"right data", "ctl3")
    cloud.data["ctl2"][image] = bad
    assert replicator.round() == (1, 0)
    assert contents(store) == {image: b"right data"}
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert image in said[0] and "ctl2" in said[0] and "discarded" in said[0]
    assert "copied from ctl3" in said[1]


def test_data_that_no_peer_can_give(cloud: Cloud, store: Path, replicator: Any) -> None:
    lost = cloud.image(b"lost", "ctl1")  # Only in the store that this node lost.
    bad = cloud.image(b"bad", "ctl2", os_hash_value="0" * 128)
    good = cloud.image(b"good", "ctl3")
    assert replicator.round() == (3, 2)
    assert contents(store) == {good: b"good"}
    assert Path(replicator.ok).read_text() == "2\n"
    cloud.data["ctl3"][lost] = b"lost"
    cloud.images = [image for image in cloud.images if image["id"] != bad]
    assert replicator.round() == (1, 0)
    assert contents(store) == {good: b"good", lost: b"lost"}
    assert Path(replicator.ok).read_text() == "0\n"


def test_a_peer_that_is_off(
    cloud: Cloud, config: dict[str, Any], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config["peers"]["ctl2"] = "http://127.0.0.1:1"
    replicator = replicate.Replicator(config)
    first, second = cloud.image(b"1", "ctl3"), cloud.image(b"2", "ctl3")
    assert replicator.round() == (2, 0)
    assert contents(store) == {first: b"1", second: b"2"}
    # It was asked for the first image only: for the second it came last.
    assert capsys.readouterr().out.count("from ctl2") == 1


@pytest.mark.parametrize("status", ["queued", "saving", "uploading", "importing", "deactivated"])
def test_images_that_are_not_active_are_left_alone(
    cloud: Cloud, store: Path, replicator: Any, status: str
) -> None:
    image = cloud.image(b"data", "ctl2", status=status)
    assert replicator.round() == (0, 0)
    assert contents(store) == {}
    (store / image).write_bytes(b"the first bytes of an upl")
    os.utime(store / image, (0, 0))
    assert replicator.round() == (0, 0)
    assert contents(store) == {image: b"the first bytes of an upl"}


def test_a_broken_upload_gives_way_to_the_good_one(
    cloud: Cloud, store: Path, replicator: Any
) -> None:
    image = cloud.image(b"all of the data", "ctl2")
    (store / image).write_bytes(b"all of")
    assert replicator.round() == (1, 0)
    assert contents(store) == {image: b"all of the data"}


def test_removes_only_old_files_of_unknown_images(
    cloud: Cloud, store: Path, replicator: Any
) -> None:
    known = cloud.image(b"known", "ctl2")
    hidden = cloud.image(b"hidden", "ctl2", os_hidden=True)
    old, new, other = str(uuid.uuid4()), str(uuid.uuid4()), "lost+found"
    now = time.time()
    for name, data, age in [
        (known, b"known", HOUR),
        (hidden, b"hidden", HOUR),
        (old, b"", replicate.KEEP + 60),
        (new, b"", replicate.KEEP - 60),
        (other, b"", HOUR),
    ]:
        (store / name).write_bytes(data)
        os.utime(store / name, (now - age, now - age))
    assert replicator.round() == (0, 0)
    assert contents(store).keys() == {known, hidden, new, other}


def test_removes_nothing_without_a_complete_listing(
    cloud: Cloud, store: Path, replicator: Any
) -> None:
    cloud.failures = [503]
    path = store / str(uuid.uuid4())
    path.write_bytes(b"")
    os.utime(path, (0, 0))
    with pytest.raises(replicate.Failed, match=r"ctl1/v2/images.* answered 503"):
        replicator.round()
    assert path.exists() and not Path(replicator.ok).exists()
    replicator.round()
    assert not path.exists()


def test_removes_nothing_that_glance_still_has(
    cloud: Cloud, store: Path, replicator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is hidden between the two listings is in neither."""
    image = cloud.image(b"data", "ctl1")
    (store / image).write_bytes(b"data")
    os.utime(store / image, (0, 0))
    monkeypatch.setattr(replicator, "images", dict)
    replicator.round()
    assert contents(store) == {image: b"data"}


def test_a_refused_token_is_renewed(cloud: Cloud, store: Path, replicator: Any) -> None:
    replicator.round()
    replicator.round()
    assert cloud.tokens_given == 1
    cloud.token = "token-2"
    image = cloud.image(b"data", "ctl2")
    assert replicator.round() == (1, 0)
    assert contents(store) == {image: b"data"}
    assert cloud.tokens_given == 2


def test_a_wrong_password_is_an_error_and_not_a_loop(cloud: Cloud, config: dict[str, Any]) -> None:
    config["auth"]["password"] = "wrong"
    with pytest.raises(replicate.Failed, match=r"auth/tokens answered 401"):
        replicate.Replicator(config).round()
    assert cloud.tokens_given == 0


def test_goes_on_after_failures(
    cloud: Cloud,
    store: Path,
    replicator: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The waits: longer up to a limit after failures, short after work, else the usual."""
    waits: list[float] = []

    class Enough(Exception):
        pass

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 6:
            raise Enough

    monkeypatch.setattr(replicate.time, "sleep", sleep)
    cloud.failures = [503, 500, 503, 503]
    image = cloud.image(b"data", "ctl2")
    with pytest.raises(Enough):
        replicator.run()
    assert waits == [2, 4, 5, 5, 1, 2]
    assert contents(store) == {image: b"data"}
    said = capsys.readouterr().out.splitlines()
    assert [line.rsplit(" ", 1)[1] for line in said[:4]] == ["503", "500", "503", "503"]
    assert len(said) == 5


@pytest.fixture
def start(
    config: dict[str, Any], tmp_path: Path
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Runs the program as the container does."""
    path = tmp_path / "replicate.json"
    path.write_text(json.dumps(config))
    started: list[subprocess.Popen[bytes]] = []

    def run() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, str(PROGRAM), str(path)]))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def test_killed_while_it_copies(
    cloud: Cloud, config: dict[str, Any], store: Path, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    data = bytes(1 << 20)
    image = cloud.image(data, "ctl2")
    part = store / (image + replicate.PART)
    cloud.withheld = threading.Event()
    process = start()
    until(lambda: part.exists() and part.stat().st_size, "half of the data to be there")
    process.kill()
    process.wait()
    assert contents(store).keys() == {part.name}
    assert not Path(config["ok"]).exists()

    cloud.withheld.set()
    start()
    until((store / image).exists, "the image")
    assert contents(store) == {image: data}


def test_sigterm_ends_it_at_once(
    cloud: Cloud, store: Path, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    image = cloud.image(bytes(1 << 20), "ctl2")
    part = store / (image + replicate.PART)
    cloud.withheld = threading.Event()  # Never set: it could wait for seconds.
    process = start()
    until(lambda: part.exists() and part.stat().st_size, "half of the data to be there")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=replicate.ANSWER / 2) == 0
    assert contents(store) == {}


def test_what_an_earlier_life_left_is_removed(store: Path, replicator: Any) -> None:
    Path(replicator.ok).write_text("0\n")
    image = str(uuid.uuid4())
    (store / image).write_bytes(b"data")
    (store / (image + replicate.PART)).write_bytes(b"da")
    replicator.start()
    assert not Path(replicator.ok).exists()
    assert contents(store) == {image: b"data"}


def rendered(place: Any, node: int) -> dict[str, Any]:
    made = renderer(place)
    glance = next(s for s in SERVICES if s.name == "glance")
    variables = {**made._shared, "node": place.nodes[node]}
    config: dict[str, Any] = json.loads(made._render(glance, "replicate.json", variables))
    return config


def test_the_config_names_the_other_control_nodes() -> None:
    config = rendered(MULTINODE, 1)
    assert config["own"] == "http://172.30.0.12:9292"
    assert config["peers"] == {
        "ctl1": "http://172.30.0.11:9292",
        "ctl3": "http://172.30.0.13:9292",
    }
    assert config["auth"]["auth_url"] == "http://172.30.0.10:5000/v3"
    assert config["store"] == "/var/lib/glance/images"
    replicate.Replicator(config)
    assert rendered(AIO, 0)["peers"] == {}
