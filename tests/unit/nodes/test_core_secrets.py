"""Secrets that come from one master."""

from __future__ import annotations

import base64
import re

from hypothesis import given
from hypothesis import strategies as st

from devenv.core.redact import Redactor
from devenv.core.secrets import Secrets


def secrets(master: str = "master") -> Secrets:
    return Secrets(master, Redactor())


def test_they_are_the_same_on_every_machine() -> None:
    """Known answers: another algorithm would lock environments out of their databases."""
    assert secrets().password("nova") == "z2es6p4ceyi2n5p7kh3qdkkr"
    assert secrets().fernet_key("0") == "pJjOASEVjF50uLaslyFkKVEfXfg6S1eRHDjkgVyI0us="


@given(st.text(), st.text(), st.text(), st.text())
def test_names_and_masters_differ(master: str, other: str, name: str, another: str) -> None:
    one = secrets(master)
    assert one.password(name) == secrets(master).password(name)
    assert (one.password(name) == one.password(another)) == (name == another)
    assert (one.fernet_key(name) == one.fernet_key(another)) == (name == another)
    # Equal only for equal keys, and for what HMAC pads to an equal key: NUL at the end.
    if master.rstrip("\0") != other.rstrip("\0"):
        assert one.password(name) != secrets(other).password(name)


@given(st.text())
def test_passwords_need_no_quoting(name: str) -> None:
    assert re.fullmatch(r"[a-z2-7]{24}", secrets().password(name))


@given(st.text())
def test_fernet_keys_are_32_bytes(name: str) -> None:
    assert len(base64.urlsafe_b64decode(secrets().fernet_key(name))) == 32


def test_a_fernet_key_works() -> None:
    from cryptography.fernet import Fernet

    key = Fernet(secrets().fernet_key("0").encode())
    assert key.decrypt(key.encrypt(b"x")) == b"x"


def test_a_new_master_is_new() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", Secrets.new_master())
    assert Secrets.new_master() != Secrets.new_master()


def test_what_is_handed_out_is_redacted() -> None:
    redact = Redactor()
    made = Secrets("the master itself", redact)
    text = f"{made.password('a')} {made.fernet_key('b')} the master itself"
    assert redact(text) == "*** *** ***"
