from __future__ import annotations

from devenv.testing.console import parse

ONE, TWO = "06868c37-a043-44da-96d6-b34d88169df0", "16868c37-a043-44da-96d6-b34d88169df0"


def beat(seq: int, uptime: float, boot: str = ONE) -> str:
    return f"devenv-guest: heartbeat seq={seq} uptime={uptime} boot_id={boot}"


def test_lines_of_a_boot_are_read() -> None:
    console = parse(
        f"SeaBIOS\ndevenv-guest: boot boot_id={ONE}\r\n{beat(1, 1.85)}\r\n"
        "devenv-guest: metadata instance-id=i-1 hostname=vm uuid=abc\n" + beat(2, 2.05)
    )
    assert console.boots == (ONE,)
    assert [(one.seq, one.uptime) for one in console.heartbeats] == [(1, 1.85), (2, 2.05)]
    assert console.metadata == {"instance-id": "i-1", "hostname": "vm", "uuid": "abc"}


def test_lines_that_were_cut_are_left_out() -> None:
    cut = beat(3, 3.0)[:-5]
    console = parse(f"guest: heartbeat seq=1 uptime=1\n{beat(2, 2.0)}\n{cut}\ndevenv-guest: heart")
    assert [one.seq for one in console.heartbeats] == [2]
    assert parse("").heartbeats == ()


def test_missing_heartbeats_are_found() -> None:
    lines = [f"devenv-guest: boot boot_id={ONE}", beat(1, 1), beat(2, 2), beat(4, 4), beat(7, 7)]
    console = parse("\n".join(lines))
    assert console.missing(ONE) == [3, 5, 6]
    assert console.missing(TWO) == []


def test_the_start_of_a_console_counts_only_if_it_is_there() -> None:
    assert parse(f"{beat(90, 90)}\n{beat(91, 91)}").missing(ONE) == []
    assert parse(f"devenv-guest: boot boot_id={ONE}\n{beat(3, 3)}").missing(ONE) == [1, 2]


def test_boots_are_told_apart() -> None:
    lines = [beat(1, 1), beat(2, 2), beat(1, 1.5, TWO), beat(3, 9.5, TWO)]
    console = parse("\n".join(lines))
    assert console.missing(ONE) == []
    assert console.missing(TWO) == [2]
    assert console.longest_pause(ONE) == 1
    assert console.longest_pause(TWO) == 8
