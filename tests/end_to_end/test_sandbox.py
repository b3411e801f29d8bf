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

    def __call__(self, state: str, *options: str, **variables: object) -> str:
        """Run the playbook; its output."""
        return self.ends(0, state, *options, **variables)

    def ends(self, expected: int, state: str, *options: str, **variables: object) -> str:
        """Run the playbook to this exit code; its output."""
        place = {"sandbox_state": state, "sandbox_port": 0, "sandbox_state_dir": str(self.folder), **variables}
        code, output = self.control.run(SANDBOX, "-e", json.dumps(place), *options)
        assert code == expected, output
        return output

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


def test_the_sandbox_starts_shows_and_stops(sandbox: Sandbox) -> None:
    assert "made when it starts" in sandbox("started", "--check")
    assert not sandbox.folder.exists()
    output = sandbox("started")
    page = page_of(output)
    assert "<title>Flashduty sandbox</title>" in get(page)
    assert f". '{sandbox.folder}/environment'" in output
    assert sandbox.environment()["FLASHDUTY_PUSH_URL"] in output
    assert page_of(sandbox("started")) == page
    assert "No changes." in sandbox("shown")


TASK = """
- hosts: web1
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change: {change_key: CHANGE-1, change_status: Done, title: Upgrade}
"""


def test_after_a_reset_a_task_sends_again(sandbox: Sandbox) -> None:
    control = sandbox.control
    page = page_of(sandbox("started"))
    real = dict(control.environment)

    def changed() -> int:
        control.environment = {**real, **sandbox.environment()}
        del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
        code, output = control.run(control.write("task.yml", TASK))
        assert code == 0, output
        control.environment = real
        return output.count("changed: [")

    assert (changed(), changed()) == (1, 0)
    output = sandbox("started", sandbox_reset=True)
    assert "again after this reset" in output
    assert json.loads(get(f"{page}changes")) == []
    assert (changed(), changed()) == (1, 0)
    assert len(json.loads(get(f"{page}changes"))) == 1


def test_merge_and_routes_are_variables(sandbox: Sandbox) -> None:
    page = page_of(sandbox("started", sandbox_merge="last", sandbox_route_label="team"))
    status = json.loads(get(f"{page}status"))
    assert (status["merge"], status["route_label"]) == ("last", "team")
    output = sandbox.ends(2, "started", sandbox_route_label="team")
    assert "sandbox_merge=last" in output
    assert "sandbox_merge must be first or last" in sandbox.ends(2, "started", sandbox_merge="both")


def test_a_port_that_is_taken_says_what_to_do(sandbox: Sandbox) -> None:
    output = sandbox.ends(2, "started", sandbox_port=sandbox.control.receiver.port)
    said = " ".join(output.split())
    assert f"port {sandbox.control.receiver.port} of 127.0.0.1 cannot be used" in said
    assert "-e sandbox_port=" in said


def test_the_real_keys_do_not_reach_it(sandbox: Sandbox) -> None:
    page = page_of(sandbox("started"))
    assert "FLASHDUTY_PUSH_URL" in sandbox.control.environment
    pid = json.loads(get(f"{page}status"))["pid"]
    assert b"FLASHDUTY" not in Path(f"/proc/{pid}/environ").read_bytes()


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
    control.write("site.yml", "- hosts: web\n  gather_facts: false\n  tasks:\n    - ansible.builtin.command: 'true'\n")
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
    finally:
        control.run(SANDBOX, "-e", "sandbox_state=stopped")
    assert done.returncode == 0, done.stdout + done.stderr
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
