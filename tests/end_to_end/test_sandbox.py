# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook of the sandbox and the demo print the page's address, and it is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_node import ControlNode

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
CI = Path(__file__).parents[2] / "docs" / "ci.md"
SANDBOX = "flashcat.flashduty.sandbox"
DEMO_SECONDS = 300.0


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


class Sandbox:
    """The playbook, with a folder of its own on any port."""

    def __init__(self, control: ControlNode, folder: Path) -> None:
        self.control = control
        self.folder = folder
        self.place = {"sandbox_port": 0, "sandbox_state_dir": str(folder)}

    def __call__(self, state: str, *options: str, expected: int = 0, **variables: object) -> str:
        """Run the playbook to this exit code; its output."""
        given = {**self.place, "sandbox_state": state, **variables}
        code, output = self.control.run(SANDBOX, "-e", json.dumps(given), *options)
        assert code == expected, output
        return output

    def imported(self, *plays: dict[str, str]) -> list[str]:
        """Import the playbook with each of these variables in one run; the output of each."""
        imports = [{"import_playbook": SANDBOX, "vars": variables} for variables in plays]
        return self.run(self.control.write("imports.yml", json.dumps(imports)))

    def run(self, *playbooks: str) -> list[str]:
        """Run these playbooks; the output of each play."""
        code, output = self.control.run(*playbooks, "-e", json.dumps(self.place))
        assert code == 0, output
        return output.split("PLAY [")[1:]

    def environment(self) -> dict[str, str]:
        """What the line that it prints puts into the environment."""
        show = f"{shlex.quote(sys.executable)} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
        line = f". {shlex.quote(str(self.folder / 'environment'))}; {show}"
        done = subprocess.run(["sh", "-ec", line], capture_output=True, text=True, check=True)
        found: dict[str, str] = json.loads(done.stdout)
        return {name: found[name] for name in found if name.startswith(("FLASHDUTY_", "ANSIBLE_CALLBACKS"))}


@pytest.fixture
def sandbox(control: ControlNode, tmp_path: Path) -> Iterator[Sandbox]:
    playbook = Sandbox(control, tmp_path / "a sandbox")
    yield playbook
    playbook("stopped")
    # The play about changes is no change itself.
    assert control.receiver.requests() == []


def page_of(output: str) -> str:
    found = re.search(r"Page: +(http://127\.0\.0\.1:\d+/sandbox/)", output)
    assert found, output
    return found[1]


TASK = """
- hosts: web1
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change: {change_key: CHANGE-1, change_status: Done, title: Upgrade}
"""
RESET = f"- import_playbook: {SANDBOX}\n  vars: {{sandbox_reset: true}}\n"


def test_the_sandbox_starts_shows_resets_and_stops(sandbox: Sandbox) -> None:
    control = sandbox.control
    assert "made when it starts" in sandbox("started", "--check")
    assert not sandbox.folder.exists()

    taken = " ".join(sandbox("started", expected=2, sandbox_port=control.receiver.port).split())
    assert f"port {control.receiver.port} of 127.0.0.1 cannot be used" in taken
    assert "-e sandbox_port=" in taken

    _stopped, started, again, shown = sandbox.imported(
        *({"sandbox_state": state} for state in ("stopped", "started", "started", "shown"))
    )
    page = page_of(started)
    assert "<title>Flashduty sandbox</title>" in get(page)
    assert f". '{sandbox.folder}/environment'" in started
    assert sandbox.environment()["FLASHDUTY_PUSH_URL"] in started
    assert page_of(again) == page
    assert "No changes." in shown

    # The real keys do not reach it.
    assert "FLASHDUTY_PUSH_URL" in control.environment
    pid = json.loads(get(f"{page}status"))["pid"]
    assert b"FLASHDUTY" not in Path(f"/proc/{pid}/environ").read_bytes()

    # After a reset a task sends again.
    real = dict(control.environment)
    task, reset = control.write("task.yml", TASK), control.write("reset.yml", RESET)

    def run(*playbooks: str) -> list[str]:
        control.environment = {**real, **sandbox.environment()}
        del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
        plays = sandbox.run(*playbooks)
        control.environment = real
        return plays

    (sent,) = run(task)
    assert sent.count("changed: [") == 1
    unsent, forgotten = run(task, reset)
    assert unsent.count("changed: [") == 0
    assert "again after this reset" in forgotten
    assert json.loads(get(f"{page}changes")) == []
    assert [play.count("changed: [") for play in run(task, task)] == [1, 0]
    assert len(json.loads(get(f"{page}changes"))) == 1

    # Merge and routes are variables.
    routed = {"sandbox_merge": "last", "sandbox_route_label": "team"}
    _stopped, started = sandbox.imported({"sandbox_state": "stopped"}, routed)
    status = json.loads(get(f"{page_of(started)}status"))
    assert (status["merge"], status["route_label"]) == ("last", "team")
    assert "sandbox_merge=last" in sandbox("started", expected=2, sandbox_route_label="team")
    assert "sandbox_merge must be first or last" in sandbox("started", expected=2, sandbox_merge="both")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_pipeline_is_tested_as_the_guide_says(control: ControlNode) -> None:
    section = CI.read_text(encoding="utf-8").split("## Test a pipeline without Flashduty")[1]
    found = re.search(r"```shell\n(.*?)```", section, re.DOTALL)
    assert found
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = found[1].replace("8765", str(port)).replace(SANDBOX, f"{SANDBOX} -e sandbox_port={port}")
    script = script.replace("~/.ansible", shlex.quote(control.environment["ANSIBLE_HOME"]))
    control.write("site.yml", "- hosts: web\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: 'true'\n")
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-ec", script],
            stdin=subprocess.DEVNULL,
            cwd=control.folder,
            env={**control.environment, "PATH": tools},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    except BaseException:
        control.run(SANDBOX, "-e", "sandbox_state=stopped")
        raise
    (events,) = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("[{"))
    assert [event["body"]["change_status"] for event in events] == ["Processing", "Done"]
    assert '"fault": {"kind": "status", "times": 1, "status": 503}' in done.stdout
    assert control.receiver.requests() == []


def test_the_demo_keeps_its_page_until_ctrl_c() -> None:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    demo = subprocess.Popen(
        [sys.executable, str(DEMO), "--keep"],
        env={**os.environ, "PATH": tools},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    too_long = threading.Timer(DEMO_SECONDS, demo.kill)
    too_long.start()
    lines: list[str] = []
    try:
        for line in demo.stdout:
            lines.append(line)
            if "until you press Ctrl-C" in line:
                break
        output = "".join(lines)
        pages = re.findall(r"http://127\.0\.0\.1:\d+/sandbox/", output)
        assert len(pages) == 2, output
        assert pages[0] == pages[1]
        assert "<title>Flashduty sandbox</title>" in get(pages[0])
        changes: list[Any] = json.loads(get(f"{pages[0]}changes"))
        assert len(changes) == 5
        demo.send_signal(signal.SIGINT)
        output += demo.stdout.read()
        assert demo.wait() == 0, output
    finally:
        too_long.cancel()
        if demo.poll() is None:
            demo.terminate()
            demo.wait()
        demo.stdout.close()
    found = re.search(r"everything else in (\S+)", output)
    assert found
    assert not Path(found[1]).exists()
