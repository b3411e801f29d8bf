# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program: start, stop, show, serve."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sandbox_client import (
    EVENT,
    PATIENCE,
    ask,
    taken,
    until,
)

from flashduty_sandbox import cli
from flashduty_sandbox.receiver import Receiver
from flashduty_sandbox.state import PORT, State

PROGRAM = Path(cli.__file__).absolute().parent


class Sandbox:
    """The program with a folder of its own, in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, *arguments: str) -> list[str]:
        name, *options = arguments
        return [sys.executable, "-I", "-S", "-B", str(PROGRAM), name, "--state-dir", str(self.folder), *options]

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


@pytest.mark.alike
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--port", "1"], "sandbox_port="),
        (["--port", "0", "--merge", "first", "--route-label", "team"], "sandbox_merge=last"),
        (["--port", "0", "--merge", "last"], "sandbox_route_label=team"),
        (["--port", "0", "--merge", "last", "--route-label", "service"], "sandbox_route_label=team"),
    ],
)
def test_a_running_one_is_not_changed_in_silence(sandbox: Sandbox, options: list[str], named: str) -> None:
    same = ["--port", "0", "--merge", "last", "--route-label", "team"]
    started = sandbox.ask("start", *same)
    done = sandbox.run("start", *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert named in done.stderr
    assert "sandbox_state=stopped" in done.stderr
    assert sandbox.ask("start", *same) == {**started, "state": "running"}


def test_the_keys_are_random_kept_and_nobody_elses(sandbox: Sandbox, tmp_path: Path) -> None:
    first = sandbox.ask("start", "--port", "0")
    key = first["push_url"].rpartition("=")[2]
    assert re.fullmatch(r"[0-9a-f]{32}", key)
    port = first["url"].rpartition(":")[2]
    sandbox.ask("stop")
    assert sandbox.ask("start", "--port", port)["push_url"] == first["push_url"]
    other = Sandbox(tmp_path / "other")
    try:
        assert other.ask("start", "--port", "0")["push_url"].rpartition("=")[2] != key
    finally:
        other.run("stop")


def test_one_line_in_a_shell_points_ansible_at_it(sandbox: Sandbox) -> None:
    started = sandbox.ask("start", "--port", "0")
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    real = {
        "FLASHDUTY_INTEGRATION_KEY": "real",
        "FLASHDUTY_INTEGRATION_KEY_FILE": "/x",
        "FLASHDUTY_API_URL": "http://x",
    }
    done = subprocess.run(
        ["sh", "-ec", '. "$1"; exec "$2" -c "$3"', "sh", started["environment"], sys.executable, show],
        env={**os.environ, **real},
        capture_output=True,
        text=True,
        check=True,
    )
    every = json.loads(done.stdout)
    assert started["shell"] == f". {started['environment']}"
    environment = {name: every[name] for name in every if name.startswith(("FLASHDUTY_", "ANSIBLE_CALLBACKS"))}
    app_key = environment.pop("FLASHDUTY_APP_KEY")
    assert environment == {
        "ANSIBLE_CALLBACKS_ENABLED": "flashcat.flashduty.flashduty_change",
        "FLASHDUTY_PUSH_URL": started["push_url"],
    }
    assert ask(f"{started['url']}/change/list?app_key={app_key}", {}).status == 200
    sandbox.ask("stop")
    assert not Path(started["environment"]).exists()


def test_the_line_for_a_shell_is_short_at_home_and_quoted_elsewhere() -> None:
    assert State(Path.home() / ".ansible/flashduty/sandbox").shell == ". ~/.ansible/flashduty/sandbox/environment"
    assert State(Path("/srv/a b")).shell == ". '/srv/a b/environment'"


def test_the_command_that_starts_it_again_names_what_is_not_the_default(receiver: Receiver) -> None:
    home = State(Path.home() / ".ansible/flashduty/sandbox")
    again = home.settings(receiver)["start"]
    assert again == f"ansible-playbook flashcat.flashduty.sandbox -e '{{\"sandbox_port\": {receiver.port}}}'"
    receiver.port = PORT
    assert home.settings(receiver)["start"] == "ansible-playbook flashcat.flashduty.sandbox"
    assert '"sandbox_state_dir": "/srv/a b"' in State(Path("/srv/a b")).settings(receiver)["start"]


def test_no_real_key_reaches_it(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLASHDUTY_PUSH_URL", "FLASHDUTY_APP_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "real-secret")
    started = sandbox.ask("start", "--port", "0")
    environ = Path(f"/proc/{started['pid']}/environ").read_bytes()
    assert b"PATH=" in environ
    assert b"real-secret" not in environ
    assert b"FLASHDUTY" not in environ


def test_a_reset_makes_a_new_key_and_the_old_one_says_so(sandbox: Sandbox) -> None:
    started = sandbox.ask("start", "--port", "0")
    assert ask(started["push_url"], EVENT).status == 200
    again = sandbox.ask("start", "--port", "0", "--reset")
    assert (again["state"], again["pid"]) == ("running", started["pid"])
    assert again["push_url"] != started["push_url"]
    assert again["push_url"] in Path(again["environment"]).read_text(encoding="utf-8")
    reply = ask(started["push_url"], EVENT)
    assert reply.verdict == (400, "InvalidParameter")
    assert "a reset of the sandbox replaced it" in reply.message
    assert ask(again["push_url"], EVENT).status == 200
    sandbox.ask("stop")
    third = sandbox.ask("start", "--port", "0", "--reset")
    assert third["push_url"].rpartition("=")[2] not in (again["push_url"], started["push_url"])
    assert sandbox.ask("show", "--json") == []


def test_what_was_added_is_there_after_a_restart(sandbox: Sandbox) -> None:
    started = sandbox.ask("start", "--port", "0")
    settings = ask(f"{started['url']}/sandbox/integrations", {}).json
    second = settings["integrations"][1]["push_url"]
    assert ask(second, EVENT).status == 200
    port = started["url"].rpartition(":")[2]
    sandbox.ask("stop")
    assert sandbox.ask("start", "--port", port)["push_url"] == started["push_url"]
    assert ask(second, {**EVENT, "change_status": "Done"}).status == 200
    (change,) = sandbox.ask("show", "--json")
    assert change["event_count"] == 2


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_where_others_may_write_holds_no_keys(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    done = Sandbox(folder).run("start", "--port", "0")
    assert (done.returncode, list(folder.iterdir())) == (1, [])
    assert "-e sandbox_state_dir=" in done.stderr


def test_keys_that_cannot_be_read_are_named_and_reset_helps(sandbox: Sandbox) -> None:
    sandbox.folder.mkdir(parents=True, mode=0o700)
    (sandbox.folder / "keys.json").write_text("{}", encoding="utf-8")
    done = sandbox.run("start", "--port", "0")
    assert done.returncode == 1
    assert "keys.json" in done.stderr
    assert sandbox.ask("start", "--port", "0", "--reset")["state"] == "started"


def test_nothing_is_left_in_the_folder_of_the_program(sandbox: Sandbox) -> None:
    copy = sandbox.folder.parent / "program" / PROGRAM.name
    shutil.copytree(PROGRAM, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(copy.rglob("*"))
    command = [sys.executable, "-I", "-S", "-B", str(copy)]
    folder = ["--state-dir", str(sandbox.folder)]
    for name in (["start", "--port", "0"], ["show"], ["stop"]):
        subprocess.run([*command, *name, *folder], check=True, capture_output=True)
    assert sorted(copy.rglob("*")) == before


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
    assert "-e sandbox_port=" in done.stderr


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
    sandbox.folder.mkdir(parents=True, mode=0o700)
    (sandbox.folder / "sandbox.db").write_bytes(b"damaged " * 1000)
    done = sandbox.run("start", "--port", "0")
    assert done.returncode == 1
    assert "-e sandbox_reset=true" in done.stderr
    assert sandbox.run("show").returncode == 1
    assert sandbox.ask("start", "--port", "0", "--reset")["state"] == "started"
    assert sandbox.ask("show", "--json") == []


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["restart"],
        ["start"],
        ["start", "--state-dir", "x", "--port", "http"],
        ["start", "--state-dir", "x", "--merge", "both"],
    ],
)
def test_wrong_options(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(options) == 2
    assert "usage:" in capsys.readouterr().err


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
