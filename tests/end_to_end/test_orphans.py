# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run whose courier is gone as well is closed by the next run, or by flush, and a living run never is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from control_node import ANSIBLE_PLAYBOOK, PATIENCE, ControlNode, wait_until

PLAYBOOK = """
- hosts: web1
  gather_facts: false
  tasks:
    - ansible.builtin.raw: "touch {folder}/started; exec sleep 120"
"""
QUICK = "- hosts: db1\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: 'true'\n"


def outbox_path(control: ControlNode) -> Path:
    return control.folder / "home" / "flashduty" / "outbox.sqlite3"


def only_run(control: ControlNode) -> dict[str, Any]:
    with closing(sqlite3.connect(outbox_path(control))) as database:
        database.row_factory = sqlite3.Row
        (row,) = database.execute("SELECT * FROM runs").fetchall()
        return dict(row)


def is_delivered(control: ControlNode) -> bool:
    """Whether the courier knows that the start has arrived; until then it may send it again."""
    if not outbox_path(control).exists():
        return False
    with closing(sqlite3.connect(outbox_path(control))) as database:
        return database.execute("SELECT state FROM events").fetchall() == [("delivered",)]


@contextmanager
def a_run(control: ControlNode) -> Iterator[subprocess.Popen[str]]:
    """A run in the middle of its task, whose start has arrived and whose courier is up."""
    path = control.write("site.yml", PLAYBOOK.format(folder=control.folder))
    with control.start(path) as process:
        wait_until((control.folder / "started").exists)
        wait_until(lambda: only_run(control)["courier"] is not None and is_delivered(control))
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


def courier_of(control: ControlNode) -> int:
    return int(json.loads(only_run(control)["courier"])["pid"])


def kill_with_courier(control: ControlNode, process: subprocess.Popen[str]) -> None:
    """As in a power cut: the courier has no time to notice."""
    courier = courier_of(control)
    os.kill(courier, signal.SIGKILL)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=PATIENCE)
    wait_until(lambda: not Path(f"/proc/{courier}").exists() or "Z" in Path(f"/proc/{courier}/stat").read_text())


def change_run(control: ControlNode, **columns: Any) -> None:
    with closing(sqlite3.connect(outbox_path(control))) as database:
        for name, value in columns.items():
            database.execute(f"UPDATE runs SET {name} = ?", (value,))
        database.commit()


def change_process(control: ControlNode, **fields: Any) -> None:
    process = json.loads(only_run(control)["process"])
    change_run(control, process=json.dumps({**process, **fields}))


def flush(control: ControlNode, *playbooks_before: str) -> None:
    code, output = control.run(*playbooks_before, "flashcat.flashduty.flush")
    assert code == 0, output


def test_flush_closes_what_a_power_cut_left_open(control: ControlNode) -> None:
    with a_run(control) as process:
        seen_at = only_run(control)["seen_at"]
        kill_with_courier(control, process)
        flush(control)
    assert control.statuses() == ["Processing", "Canceled"]
    (start, end) = control.receiver.events()
    assert "killed" in end["body"]["description"]
    assert end["event_time"] == int(seen_at)
    assert {**end["body"], "change_status": "", "description": "", "event_time": 0} == {
        **start["body"],
        "labels": {**start["body"]["labels"], "result": "killed"},
        "change_status": "",
        "description": "",
        "event_time": 0,
    }
    flush(control)
    assert len(control.receiver.events()) == 2


def test_the_next_run_closes_it_too(control: ControlNode) -> None:
    with a_run(control) as process:
        kill_with_courier(control, process)
        assert control.run(control.write("quick.yml", QUICK))[0] == 0
        control.receiver.wait_for(lambda: len(control.receiver.events()) == 4, timeout=PATIENCE)
    assert sorted(control.statuses()) == ["Canceled", "Done", "Processing", "Processing"]
    states = {change["labels"]["host"]: change["change_status"] for change in control.receiver.changes()}
    assert states == {"web1": "Canceled", "db1": "Done"}


def test_a_living_run_is_left_alone_with_and_without_its_courier(control: ControlNode) -> None:
    with a_run(control) as process:
        flush(control)
        os.kill(courier_of(control), signal.SIGKILL)
        flush(control, control.write("quick.yml", QUICK))
        states = {change["labels"]["host"]: change["change_status"] for change in control.receiver.changes()}
        assert states == {"web1": "Processing", "db1": "Done"}
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    # Without its courier, the run started another one to deliver its end.
    control.receiver.wait_for(lambda: control.statuses()[-1] == "Canceled", timeout=PATIENCE)


def test_a_living_run_is_left_alone_where_proc_is_not_mounted(control: ControlNode) -> None:
    hidden = ["--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    for command in (["unshare"], ["unshare", "--user", "--map-root-user"]):
        if shutil.which("unshare") and not subprocess.run([*command, *hidden, "true"], check=False).returncode:
            break
    else:
        pytest.skip("unshare may not hide /proc here")
    subprocess.run(
        [
            *command,
            *hidden,
            ANSIBLE_PLAYBOOK,
            "-i",
            "inventory",
            control.write("site.yml", QUICK.replace("true", "sleep 3")),
        ],
        cwd=control.folder,
        env=control.environment,
        check=True,
        timeout=90,
    )
    assert control.statuses() == ["Processing", "Done"]


def test_a_recycled_pid_is_another_process(control: ControlNode) -> None:
    with a_run(control) as process:
        kill_with_courier(control, process)
        change_process(control, pid=os.getpid())
        flush(control)
    assert control.statuses() == ["Processing", "Canceled"]


@pytest.mark.skipif(
    sys.platform != "linux" or os.readlink("/proc/self/ns/pid") != "pid:[4026531836]",
    reason="in a container, an earlier boot is known by its long silence alone",
)
def test_a_run_of_an_earlier_boot_is_closed_at_once(control: ControlNode) -> None:
    with a_run(control) as process:
        kill_with_courier(control, process)
        change_process(control, boot="00000000-0000-0000-0000-000000000000", pid=os.getpid())
        flush(control)
    assert control.statuses() == ["Processing", "Canceled"]


def test_a_run_of_another_container_is_closed_when_it_has_been_silent_for_long(control: ControlNode) -> None:
    with a_run(control) as process:
        kill_with_courier(control, process)
        change_process(control, host="another", namespace="pid:[1]")
        flush(control)
        assert control.statuses() == ["Processing"]
        change_run(control, seen_at=time.time() - 200)
        flush(control)
    assert control.statuses() == ["Processing", "Canceled"]


def can_make_containers() -> bool:
    unshare = shutil.which("unshare")
    return (
        unshare is not None
        and not subprocess.run(
            [unshare, "--pid", "--uts", "--fork", "--mount-proc", "true"], capture_output=True, check=False
        ).returncode
    )


@pytest.mark.skipif(not can_make_containers(), reason="needs the right to make PID namespaces with unshare")
def test_a_killed_container_leaves_a_run_that_the_next_container_closes(control: ControlNode) -> None:
    path = control.write("site.yml", PLAYBOOK.format(folder=control.folder))
    inventory = str(control.folder / "inventory")
    container = ["unshare", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
    script = f"hostname first-container; '{ANSIBLE_PLAYBOOK}' -i '{inventory}' '{path}'; exit $?"
    with subprocess.Popen(
        [*container, script], cwd=control.folder, env=control.environment, stdout=subprocess.DEVNULL
    ) as process:
        wait_until((control.folder / "started").exists)
        wait_until(lambda: is_delivered(control))
        process.kill()
    flush(control)
    assert control.statuses() == ["Processing"]
    change_run(control, seen_at=time.time() - 200)
    flush(control)
    assert control.statuses() == ["Processing", "Canceled"]
