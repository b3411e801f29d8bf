# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook of the sandbox and the demo print the page's address, and it is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from control_node import ControlNode

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
CI = Path(__file__).parents[2] / "docs" / "ci.md"
SANDBOX = "flashcat.flashduty.sandbox"
DEMO_SECONDS = 300.0


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def test_the_sandbox_starts_shows_and_stops(control: ControlNode, tmp_path: Path) -> None:
    def sandbox(state: str) -> str:
        place = {"sandbox_state": state, "sandbox_port": 0, "sandbox_state_dir": str(tmp_path / "a sandbox")}
        code, output = control.run(SANDBOX, "-e", json.dumps(place))
        assert code == 0, output
        return output

    try:
        output = sandbox("started")
        found = re.search(r"Page: +(http://127\.0\.0\.1:\d+/sandbox/)", output)
        assert found, output
        assert "<title>Flashduty sandbox</title>" in get(found[1])
        assert f"Page:      {found[1]}" in sandbox("started")
        assert "No changes." in sandbox("shown")
    finally:
        sandbox("stopped")
    # The play about changes is no change itself.
    assert control.receiver.requests() == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_pipeline_is_tested_as_the_guide_says(control: ControlNode) -> None:
    section = CI.read_text(encoding="utf-8").split("## Test a pipeline without Flashduty")[1]
    found = re.search(r"```shell\n(.*?)```", section, re.DOTALL)
    assert found
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = found[1].replace("8765", str(port)).replace(SANDBOX, f"{SANDBOX} -e sandbox_port={port}")
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
