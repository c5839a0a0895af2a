"""The script by which a guest of the scenario heat-stack signals, run by this machine's `sh`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

SCENARIO = Path(__file__).parents[3] / "scenarios" / "heat"
BOOT = "0f9a3c1e-1111-4222-8333-444455556666"
ENDPOINT = "http://172.30.0.11:8004/v1/p/stacks/s/1/resources/token/signal"
SIGNED = "http://172.30.0.11:8000/v1/waitcondition/arn%3Ax?A=1&Signature=a%2Bb%3D"
#: Keeps each request in a file of its own; the answers are the lines of `answers`, then 200.
NC = """#!/bin/sh
number=$(ls "$HERE" | grep -c request)
echo "$*" >"$HERE/request.$number"
cat >>"$HERE/request.$number"
status=$(sed -n "$((number + 1))p" "$HERE/answers")
[ "$status" = none ] || printf 'HTTP/1.0 %s Said\\r\\n\\r\\nnull' "${status:-200}"
"""


@pytest.mark.parametrize("answers", [[], ["503", "none"], ["204", "500"]])
def test_both_apis_get_the_id_of_the_boot(tmp_path: Path, answers: list[str]) -> None:
    template = yaml.safe_load((SCENARIO / "server.yaml").read_text())
    marks = template["resources"]["server"]["properties"]["user_data"]["str_replace"]["params"]
    given = {"@ENDPOINT@": ENDPOINT, "@TOKEN@": "secret", "@SIGNED@": SIGNED}
    assert marks.keys() == given.keys()
    text = (SCENARIO / "signal.sh").read_text()
    for mark, value in given.items():
        assert text.count(mark) == 1
        text = text.replace(mark, value)
    (tmp_path / "signal.sh").write_text(text)
    (tmp_path / "answers").write_text("".join(f"{line}\n" for line in answers))
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text(f"{BOOT}\n")
    for name, body in (("nc", NC), ("sleep", "#!/bin/sh\n")):
        (tmp_path / name).write_text(body)
        (tmp_path / name).chmod(0o755)

    done = subprocess.run(
        ["sh", str(tmp_path / "signal.sh")],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "HERE": str(tmp_path),
            "STATE": str(tmp_path),
            "PROC": str(tmp_path / "proc"),
        },
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )

    refused = [line for line in answers if not line.startswith("2")]
    requests = [path.read_text() for path in sorted(tmp_path.glob("request.*"))]
    assert len(requests) == 2 + len(refused)
    first, last = (text.partition("\n\n") for text in (requests[0], requests[-1]))
    words, request, *head = first[0].splitlines()
    assert words.split()[-2:] == ["172.30.0.11", "8004"]
    assert request == "POST /v1/p/stacks/s/1/resources/token/signal HTTP/1.0"
    assert {"Host: 172.30.0.11:8004", "X-Auth-Token: secret"} <= set(head)
    assert f"Content-Length: {len(first[2])}" in head
    assert json.loads(first[2]).items() >= {"status": "SUCCESS", "data": BOOT}.items()
    words, request, *head = last[0].splitlines()
    assert words.split()[-2:] == ["172.30.0.11", "8000"]
    # As it was signed, escapes and all.
    assert request == "PUT /v1/waitcondition/arn%3Ax?A=1&Signature=a%2Bb%3D HTTP/1.0"
    assert f"Content-Length: {len(last[2])}" in head
    assert json.loads(last[2]).keys() == {"Status", "Reason", "Data", "UniqueId"}
    assert done.stdout.count("status=2") == 2
    assert done.stdout.count("devenv-guest: signal name=") == len(requests)
