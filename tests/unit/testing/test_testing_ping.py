from __future__ import annotations

import struct

import pytest

from devenv.testing.ping import Probe, echo_reply, echo_request, report


def probes(pattern: str, interval: float = 0.1) -> list[Probe]:
    """``x`` is answered after 10 ms, ``.`` is lost."""
    times = [index * interval for index in range(len(pattern))]
    return [Probe(at, at + 0.01 if mark == "x" else None)
            for at, mark in zip(times, pattern, strict=True)]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "lost", "gap"),
    [
        ("", 0, 0.0),
        ("xxxx", 0, 0.0),
        ("xx.x", 1, 0.2),
        ("x..xx.x", 3, 0.3),
        ("...x", 3, 0.3),
        ("x...", 3, 0.3),
        ("....", 4, 0.3),
    ],
)
def test_losses_and_the_longest_gap(pattern: str, lost: int, gap: float) -> None:
    found = report(probes(pattern))
    assert (found.sent, found.lost) == (len(pattern), lost)
    assert found.longest_gap == pytest.approx(gap)


def test_a_sender_that_was_starved_is_no_gap() -> None:
    found = report([Probe(0.0, 0.01), Probe(5.0, 5.2)])
    assert (found.lost, found.longest_gap) == (0, 0.0)
    assert found.slowest == pytest.approx(0.2)


def reply(request: bytes) -> bytes:
    """What a host answers: type 0, another checksum, perhaps another identifier."""
    return struct.pack("!BBHHH", 0, 0, 0, 999, 1) + request[8:]


def test_a_reply_tells_which_request_it_answers() -> None:
    request = echo_request(7, 70000, b"tokentok")
    assert echo_reply(reply(request), b"tokentok", raw=False) == 70000
    header = bytes([0x46]) + bytes(23)  # An IP header with options.
    assert echo_reply(header + reply(request), b"tokentok", raw=True) == 70000


def test_packets_of_others_are_not_taken() -> None:
    request = echo_request(7, 1, b"tokentok")
    assert echo_reply(request, b"tokentok", raw=False) is None  # A request, as lo shows it.
    assert echo_reply(reply(request), b"othertok", raw=False) is None
    assert echo_reply(b"", b"tokentok", raw=True) is None
    assert echo_reply(reply(request)[:14], b"tokentok", raw=False) is None


def test_the_checksum_is_right() -> None:
    """The one's complement sum over a packet with its checksum is all ones (RFC 1071)."""
    for token in (b"tokentok", b"\xff" * 8):
        packet = echo_request(0xFFFF, 65536, token)
        total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        assert total == 0xFFFF
