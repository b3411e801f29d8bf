# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends that are none of a signal's, and signals that are no end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_node import KEY, ControlNode, unbroken
from endings import WAYS, Run, Stage, TerminalRun, ansible_playbook

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox

ON_A_TERMINAL = WAYS["Ctrl-C"]
BY_HAND = WAYS["SIGINT"]


FAILS_ON_ONE = """
- name: Deploy
  hosts: web
  gather_facts: false
  tasks:
    - block:
        - ansible.builtin.fail:
      rescue:
        - ansible.builtin.debug:
    - name: Migrate
      ansible.builtin.fail:
      when: inventory_hostname == "web1"
    - ansible.builtin.raw: {command}
"""


@pytest.fixture
def stage(control: ControlNode) -> Iterator[Stage]:
    made = Stage(control)
    yield made
    made.close()


def until_told(stage: Stage, name: str, go: str = "go") -> str:
    """A shell command that makes a mark and then waits for the mark ``go``."""
    return f"touch {stage.mark(name)}; until [ -e {stage.mark(go)} ]; do sleep 0.1; done"


def finished(stage: Stage, run: Run) -> tuple[int, str]:
    """The exit code, and the final status."""
    code = run.wait()
    stage.is_over()
    stage.wait_for_close()
    return code, stage.check() or "nothing"


def test_a_stopped_run_is_not_over_nor_one_whose_first_courier_dies(stage: Stage) -> None:
    mark, later = stage.mark("task"), stage.mark("later")
    commands = (until_told(stage, "task"), until_told(stage, "later", "go-on"))
    run = stage.start(BY_HAND, stage.playbook(*commands))
    stage.wait_until(lambda: mark.exists() and stage.events())
    run.send_group(signal.SIGSTOP)
    stage.mark("go").touch()
    time.sleep(3)
    assert not stage.has_ended()
    run.send_group(signal.SIGCONT)
    stage.wait_until(later.exists)
    for courier in stage.couriers():
        os.kill(courier, signal.SIGKILL)
    stage.mark("go-on").touch()
    assert finished(stage, run) == (0, "Done")


def test_a_signal_to_a_worker_is_no_interruption_of_the_run(stage: Stage) -> None:
    mark = stage.mark("task")
    run = stage.start(BY_HAND, stage.playbook(until_told(stage, "task")))
    stage.wait_until(mark.exists)
    (worker, *_others) = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(worker), signal.SIGINT)
    stage.mark("go").touch()
    code, status = finished(stage, run)
    assert status == ("Canceled" if code else "Done")
    assert "nterrupted" not in stage.events()[-1]["description"]


SURVIVOR = """
import os, signal, time
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "survivor"

    is_done = False

    # Called before ours, which has to know of signals by then.
    def v2_playbook_on_task_start(self, task, is_conditional):
        if self.is_done:
            return
        self.is_done = True
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


@pytest.mark.parametrize(("end", "reason"), [(signal.SIGKILL, "killed"), (signal.SIGINT, "interrupted")])
def test_an_interruption_that_the_run_survives_is_not_its_end(stage: Stage, end: signal.Signals, reason: str) -> None:
    plugins = stage.control.folder / "callbacks"
    plugins.mkdir()
    (plugins / "survivor.py").write_text(SURVIVOR)
    stage.control.environment["ANSIBLE_CALLBACK_PLUGINS"] = str(plugins)
    stage.control.environment["ANSIBLE_CALLBACKS_ENABLED"] += ",survivor"
    mark = stage.mark("task")
    run = stage.start(BY_HAND, stage.playbook(until_told(stage, "task")))
    stage.wait_until(lambda: mark.exists() and stage.events())
    run.send(end)
    run.wait()
    stage.is_over()
    stage.wait_for_close()
    assert stage.check(reason[1:]) == "Canceled"
    assert stage.events()[-1]["labels"]["result"] == reason


@pytest.mark.parametrize("scope", ["run", "host"])
def test_an_interrupted_run_tells_what_had_failed_until_then(stage: Stage, scope: str) -> None:
    mark, path = stage.mark("task"), stage.control.folder / "fails.yml"
    path.write_text(FAILS_ON_ONE.format(command=until_told(stage, "task")))
    stage.control.environment["FLASHDUTY_SCOPE"] = scope
    run = stage.start(BY_HAND, str(path))
    stage.wait_until(lambda: mark.exists() and stage.events())
    run.send(signal.SIGINT)
    run.wait()
    stage.is_over()
    stage.wait_for_close()
    told = {change["labels"]["host"]: change["labels"] for change in stage.control.receiver.changes()}
    labels = told["web1" if scope == "host" else "web1,web2"]
    assert (labels["result"], labels["failed_host"], labels["failed_task"]) == ("interrupted", "web1", "Migrate")
    assert labels["changed_hosts"] == "0"
    if scope == "host":
        assert (told["web2"]["result"], "failed_host" in told["web2"]) == ("interrupted", False)


def test_quitting_the_debugger_is_told_as_a_stop(stage: Stage) -> None:
    path = Path(stage.playbook("true"))
    path.write_text(path.read_text().replace("  tasks:", "  debugger: always\n  tasks:"))
    run = stage.start(ON_A_TERMINAL, str(path))
    assert isinstance(run, TerminalRun)
    stage.wait_until(lambda: "(debug)" in run.output)
    run.type(b"q\n")
    assert finished(stage, run) == (99, "Canceled")
    assert "Stopped after" in stage.events()[-1]["description"]


def test_a_ctrl_c_that_a_pause_asks_about_is_no_end(stage: Stage) -> None:
    path = Path(stage.playbook("true"))
    path.write_text(path.read_text() + "    - ansible.builtin.pause:\n")
    run = stage.start(ON_A_TERMINAL, str(path))
    assert isinstance(run, TerminalRun)
    stage.wait_until(lambda: "Press enter" in run.output)
    run.wait_for_keys()
    run.type(b"\x03")
    stage.wait_until(lambda: "abort" in run.output)
    run.type(b"C")
    assert finished(stage, run) == (0, "Done")


def test_nobody_answers_step(stage: Stage) -> None:
    run = stage.start(BY_HAND, stage.playbook("true"), "--step")
    code, status = finished(stage, run)
    assert code != 0
    assert status == "Canceled"
    assert "killed" not in stage.events()[-1]["description"]


def test_ctrl_c_while_the_start_is_being_stored(stage: Stage) -> None:
    control = stage.control
    Outbox(str(control.state), Connection(control.receiver.url, KEY)).close()
    with contextlib.closing(sqlite3.connect(control.state / "outbox.sqlite3", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        run = stage.start(BY_HAND, stage.playbook("sleep 20"))
        # The courier is called first.
        stage.wait_until(lambda: any(control.state.glob(f"couriers/*-{run.pid}-*.fifo")))
        run.send(signal.SIGINT)
        database.execute("ROLLBACK")
    code, status = finished(stage, run)
    assert code != 0
    assert status == "Canceled"
    assert [event["change_status"] for event in stage.events()] == ["Processing", "Canceled"]
    assert "nterrupted" in stage.events()[-1]["description"]


@pytest.mark.alike
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("streams", ["<&-", ">&-", ">/dev/full", "2>/dev/full", "| head -n 1 >/dev/null"])
def test_standard_streams_that_are_closed_or_break(stage: Stage, streams: str, buffered: bool) -> None:
    if buffered:
        del stage.control.environment["PYTHONUNBUFFERED"]
    command = [*ansible_playbook(stage.control), stage.playbook("true", "sleep 1", "true")]
    before, pipe, after = streams.partition("|")
    code = stage.control.folder / "code"
    subprocess.run(
        ["bash", "-c", f'{{ "$@" {before}; echo $? >{code}; }} {pipe} {after}', "bash", *command],
        env=stage.control.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=90,
        check=False,
    )
    stage.is_over()
    stage.wait_for_close()
    # Of the exit code, ansible-core makes this and that: 0, 1, 120, 250.
    status = "Canceled" if int(code.read_text()) else "Done"
    assert [event["change_status"] for event in stage.events()] == ["Processing", status]


def test_an_output_that_broke_is_told(stage: Stage) -> None:
    del stage.control.environment["PYTHONUNBUFFERED"]
    command = [*ansible_playbook(stage.control), stage.playbook("true", "sleep 1", "true")]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, env=stage.control.environment, stdout=full, timeout=90, check=False)
    stage.is_over()
    stage.wait_for_close()
    assert done.returncode == 120
    description = stage.events()[-1]["description"]
    assert "the output could no longer be written: No space left on device" in description


def test_settings_that_fail_cost_one_warning_each_and_not_the_end(stage: Stage) -> None:
    path = Path(stage.playbook("true", "true", "true"))
    first, *others = path.read_text().split("- hosts: web1")[1:]
    bad = [f"\n  vars: {{flashduty_wait: soon}}{other}" for other in others]
    path.write_text("".join(f"- hosts: web1{play}" for play in (first, *bad)))
    run = stage.start(BY_HAND, str(path), "-e", json.dumps({"flashduty_title": "{{ absent_one }} x"}))
    assert finished(stage, run) == (0, "Done")
    assert stage.control.statuses() == ["Processing", "Done"]
    told = unbroken(run.output)
    kept = "is reported with the settings of the one before it: wait: must be auto or a number of seconds"
    assert told.count("flashduty_change:") == 2
    assert told.count(kept) == 1
    assert "absent_one" in told
    # Of a title that fails, the default.
    assert stage.control.only_change()["title"] == f"{stage.control.folder.name}/site.yml on web1"
