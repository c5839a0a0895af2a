"""No secret reaches a text."""

from __future__ import annotations

import threading

from devenv.core.redact import Redactor


def test_every_occurrence_of_every_secret_is_hidden() -> None:
    redact = Redactor(["hunter22", "s3cret.+"])
    assert redact("hunter22 s3cret.+ hunter22 s3cretxx") == "*** *** *** s3cretxx"


def test_nothing_known_nothing_hidden() -> None:
    assert Redactor()("a text") == "a text"


def test_secrets_can_be_added_later_one_or_several() -> None:
    redact = Redactor()
    redact.add("password1")
    redact.add({"password2", "password3"})
    assert redact("password1 password2 password3 password4") == "*** *** *** password4"


def test_the_longest_goes_first() -> None:
    redact = Redactor(["secret", "secret-and-more"])
    assert redact("secret-and-more, secret-and") == "***, ***-and"


def test_short_strings_are_no_secrets() -> None:
    redact = Redactor(["", "admin", "admin1"])
    assert redact("admin admin1") == "admin ***"


def test_the_lines_of_a_key_are_hidden_in_indented_output_too() -> None:
    key = "-----BEGIN KEY-----\nAAAAB3NzaC1\n  bW9yZSBvZiBpdA\n-----END KEY-----\n"
    redact = Redactor([key])
    assert redact(f"<{key}>") == "<***>"
    assert redact("    AAAAB3NzaC1\n    bW9yZSBvZiBpdA") == "    ***\n    ***"


def test_threads_add_and_use_it_at_once() -> None:
    redact = Redactor()
    leaks: list[str] = []

    def work(thread: int) -> None:
        for number in range(30):
            secret = f"<secret-{thread}-{number}>"
            redact.add([secret])
            if redact(secret) != "***":
                leaks.append(secret)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert leaks == []
    everything = " ".join(
        f"<secret-{thread}-{number}>" for thread in range(4) for number in range(30)
    )
    assert set(redact(everything).split()) == {"***"}
