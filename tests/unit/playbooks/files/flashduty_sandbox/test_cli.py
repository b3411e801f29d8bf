# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program: start, stop, show, serve."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sandbox_client import (
    CERTIFICATE,
    CERTIFICATE_KEY,
    EVENT,
    PATIENCE,
    ask,
    taken,
    until,
)

from flashduty_sandbox import cli
from flashduty_sandbox.receiver import Receiver

PROGRAM = Path(cli.__file__).absolute().parent


class Sandbox:
    """The program with a folder of its own, in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, *arguments: str) -> list[str]:
        name, *options = arguments
        return [sys.executable, "-I", str(PROGRAM), name, "--state-dir", str(self.folder), *options]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=30, check=False)

    def ask(self, *arguments: str) -> Any:
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    program = Sandbox(tmp_path / "new" / "sandbox")
    yield program
    program.run("stop")


def test_start_stop_and_what_stays(sandbox: Sandbox) -> None:
    assert sandbox.ask("stop") == {"state": "not_running"}
    assert sandbox.ask("start", "--port", "0", "--check")["state"] == "started"
    assert not sandbox.folder.exists()

    started = sandbox.ask("start", "--port", "0")
    assert started["state"] == "started"
    assert ask(started["push_url"], EVENT).status == 200
    assert ask(f"{started['url']}/sandbox/status", method="GET").json["pid"] == started["pid"]
    assert stat.S_IMODE(sandbox.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(sandbox.folder.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in sandbox.folder.iterdir()} == {0o600}

    port = started["url"].rpartition(":")[2]
    for options in (["--port", "0"], ["--port", port], ["--port", port, "--check"]):
        assert sandbox.ask("start", *options) == {**started, "state": "running"}
    assert sandbox.ask("stop", "--check") == {"state": "stopped"}
    (change,) = sandbox.ask("show", "--json")
    assert change["events"][0]["body"] == EVENT

    assert sandbox.ask("stop") == {"state": "stopped"}
    with pytest.raises(ConnectionRefusedError):
        ask(started["push_url"], EVENT)
    assert sandbox.ask("stop") == {"state": "not_running"}
    assert sandbox.ask("show", "--json") == [change]

    again = sandbox.ask("start", "--port", port)
    assert (again["state"], again["url"]) == ("started", started["url"])
    assert again["pid"] != started["pid"]
    assert sandbox.ask("show", "--json") == [change]

    assert sandbox.ask("start", "--port", port, "--reset")["state"] == "running"
    assert sandbox.ask("show", "--json") == []


def test_a_running_one_is_not_changed_in_silence(sandbox: Sandbox) -> None:
    started = sandbox.ask("start", "--port", "0", "--integration-key", "k")
    assert started["push_url"].endswith("?integration_key=k")
    for options in (["--integration-key", "x"], ["--integration-key", "k", "--app-key", "x"], []):
        done = sandbox.run("start", "--port", "0", *options)
        assert done.returncode == 1
        assert "other keys" in done.stderr
    done = sandbox.run("start", "--port", "1", "--integration-key", "k")
    assert done.returncode == 1
    assert "already runs at" in done.stderr
    assert sandbox.ask("start", "--port", "0", "--integration-key", "k")["pid"] == started["pid"]


def test_two_starts_at_once_start_one(sandbox: Sandbox) -> None:
    children = [
        subprocess.Popen(sandbox.command("start", "--port", "0"), stdout=subprocess.PIPE, text=True) for _n in range(3)
    ]
    answers = [json.loads(child.communicate(timeout=30)[0]) for child in children]
    assert sorted(answer["state"] for answer in answers) == ["running", "running", "started"]
    assert len({answer["pid"] for answer in answers}) == 1


def test_what_a_crash_leaves_behind_fools_nobody(sandbox: Sandbox) -> None:
    started = sandbox.ask("start", "--port", "0")
    ask(started["push_url"], EVENT)
    os.kill(started["pid"], signal.SIGKILL)
    address = sandbox.folder / "sandbox.json"
    left = json.loads(address.read_text(encoding="utf-8"))
    assert left["pid"] == started["pid"]
    # Its process number now belongs to somebody else.
    address.write_text(json.dumps({**left, "pid": os.getpid()}), encoding="utf-8")
    # The kernel gives the lock back a moment after the signal.
    until(lambda: "not_running" in sandbox.run("stop").stdout)
    again = sandbox.ask("start", "--port", "0")
    assert again["state"] == "started"
    assert len(sandbox.ask("show", "--json")) == 1


def test_another_program_at_the_port(sandbox: Sandbox, receiver: Receiver) -> None:
    done = sandbox.run("start", "--port", str(receiver.port))
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert "--port" in done.stderr


def test_another_sandbox_at_the_address_is_not_stopped(sandbox: Sandbox, receiver: Receiver) -> None:
    started = sandbox.ask("start", "--port", "0")
    address = sandbox.folder / "sandbox.json"
    mine = address.read_text(encoding="utf-8")
    address.write_text(json.dumps({"url": receiver.url}), encoding="utf-8")
    for command in (("stop",), ("start", "--port", "0")):
        done = sandbox.run(*command)
        assert done.returncode == 1
        assert "is the sandbox of" in done.stderr
    taken(receiver)
    address.write_text(mine, encoding="utf-8")
    assert ask(started["push_url"], EVENT).status == 200
    assert sandbox.ask("stop") == {"state": "stopped"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly(sandbox: Sandbox, number: signal.Signals) -> None:
    child = subprocess.Popen(
        sandbox.command("serve", "--port", "0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    started = json.loads(child.stdout.readline())
    assert started["pid"] == child.pid
    assert ask(started["push_url"], EVENT).status == 200
    assert sandbox.ask("start", "--port", "0")["state"] == "running"
    child.send_signal(number)
    output, errors = child.communicate(timeout=PATIENCE)
    assert (child.returncode, output, errors) == (0, "", "")
    assert not (sandbox.folder / "sandbox.json").exists()


def test_a_damaged_store_is_named_and_reset_helps(sandbox: Sandbox) -> None:
    sandbox.folder.mkdir(parents=True)
    (sandbox.folder / "sandbox.db").write_bytes(b"damaged " * 1000)
    done = sandbox.run("start", "--port", "0")
    assert done.returncode == 1
    assert "--reset" in done.stderr
    assert sandbox.run("show").returncode == 1
    assert sandbox.ask("start", "--port", "0", "--reset")["state"] == "started"
    assert sandbox.ask("show", "--json") == []


def test_https_and_limits_from_the_command_line(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text(CERTIFICATE, encoding="ascii")
    (tmp_path / "k.pem").write_text(CERTIFICATE_KEY, encoding="ascii")
    tls = ["--tls-cert", str(tmp_path / "c.pem"), "--tls-key", str(tmp_path / "k.pem")]
    started = sandbox.ask("start", "--port", "0", "--per-minute", "1", *tls)
    context = ssl.create_default_context(cafile=str(tmp_path / "c.pem"))
    target = urlsplit(started["push_url"])
    connection = http.client.HTTPSConnection("127.0.0.1", int(target.port or 0), timeout=PATIENCE, context=context)
    statuses = []
    for _number in range(2):
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"{target.path}?{target.query}", json.dumps(EVENT), headers)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert statuses == [200, 429]
    assert sandbox.run("start", "--port", "0").returncode == 1
    assert sandbox.ask("stop") == {"state": "stopped"}
    for options in (tls[:2], ["--tls-cert", str(tmp_path / "none"), *tls[2:]]):
        done = sandbox.run("start", "--port", "0", *options)
        assert done.returncode == 1
        assert "tls-key" in done.stderr or "certificate" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["restart"], ["start", "--port", "65536"], ["start", "--port", "-1"], ["start", "--integration-key", ""]],
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert "usage:" in capsys.readouterr().err


def test_the_default_folder() -> None:
    assert cli.default_state_dir({"ANSIBLE_HOME": "/srv/a"}) == Path("/srv/a/flashduty/sandbox")
    assert cli.default_state_dir({}) == Path.home() / ".ansible/flashduty/sandbox"


def test_the_table(receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "--state-dir", str(tmp_path / "nothing")]) == 0
    assert capsys.readouterr().out == "No changes.\n"
    taken(
        receiver, title="双12活动", event_time=1000, description="web2\n失败", labels={"service": "shop", "env": "prod"}
    )
    taken(receiver, title="双12活动", event_time=1042, change_status="Canceled", description="ignored")
    taken(receiver, change_key="变更", title="\x1b[2Jx", event_time=2000)
    taken(receiver, change_key="P", title="later", event_time=3000, change_status="Planned")
    lines = cli.table(receiver.changes(), now=2010.0).splitlines()
    assert lines[0].split() == ["STATUS", "START", "DURATION", "EVENTS", "KEY", "TITLE"]
    assert re.fullmatch(r"Canceled    \S+ \S+  42 s        2       CHANGE-1  双12活动", lines[1])
    assert lines[2:4] == ["    web2 失败", "    service=shop  env=prod"]
    assert re.fullmatch(r"Processing  \S+ \S+  10 s, open  1       变更      \ufffd\[2Jx", lines[4])
    assert re.fullmatch(r"Planned     \S+ \S+  -           1       P         later", lines[5])
