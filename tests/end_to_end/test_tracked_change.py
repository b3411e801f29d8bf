# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change over many hosts, closed with the truth: cancel_on_exit and the role tracked_change."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest
from control_node import ControlNode

PATIENCE = 40.0


@pytest.fixture(autouse=True)
def three_hosts(control: ControlNode) -> None:
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    (control.folder / "inventory").write_text(
        f"[web]\nweb[1:3]\n[all:vars]\nansible_connection=local\nansible_python_interpreter={sys.executable}\n"
    )


def _role(control: ControlNode, tasks: str, play: str = "", **variables: str) -> str:
    """A playbook that runs the tasks as a tracked change."""
    control.write("work.yml", tasks)
    given = {"tracked_change_key": "CHG-7", "tracked_change_title": "Upgrade", "tracked_change_tasks": "work.yml"}
    lines = "".join(f"        {name}: {value}\n" for name, value in {**given, **variables}.items())
    return control.write(
        "site.yml",
        f"- hosts: web\n  gather_facts: false\n{play}  tasks:\n"
        "    - ansible.builtin.include_role:\n        name: flashcat.flashduty.tracked_change\n"
        f"      vars:\n        tracked_change_labels: {{service: storefront}}\n{lines}",
    )


def _ended(control: ControlNode) -> dict[str, Any]:
    """The one change, once it has ended."""

    def has_ended() -> bool:
        return [change["end_time"] > 0 for change in control.receiver.changes()] == [True]

    control.receiver.wait_for(has_ended, PATIENCE)
    return control.only_change()


OK = "- ansible.builtin.debug: {msg: fine}\n"
FAILS_ON_WEB2 = "- name: Work\n  ansible.builtin.fail: {msg: The disk is full.}\n  when: inventory_hostname == 'web2'\n"


def test_all_hosts_are_one_change(control: ControlNode) -> None:
    code, output = control.run(_role(control, OK))
    assert code == 0, output
    assert "changed=0" in output
    assert "DEPRECATION" not in output
    assert "changed=1" not in output
    change = _ended(control)
    assert (control.statuses(), control.last_text()) == (["Processing", "Done"], "3 of 3 hosts done.")
    assert change["labels"] == {"service": "storefront", "result": "ok"}


@pytest.mark.parametrize("serial", [1, 2])
def test_batches_are_one_change(control: ControlNode, serial: int) -> None:
    code, output = control.run(_role(control, OK, play=f"  serial: {serial}\n"))
    assert code == 0, output
    assert _ended(control)["labels"]["result"] == "ok"
    assert (control.statuses(), control.last_text()) == (["Processing", "Done"], "3 of 3 hosts done.")


def test_a_failed_host_fails_as_without_the_role(control: ControlNode) -> None:
    code, output = control.run(_role(control, FAILS_ON_WEB2))
    assert code == 2
    assert "The disk is full." in output
    change = _ended(control)
    assert control.statuses() == ["Processing", "Canceled"]
    assert control.last_text() == "Failed: web2: task Work (ansible.builtin.fail).\n2 of 3 hosts done."
    outcome = {"result": "failed", "failed_host": "web2", "failed_task": "Work"}
    assert change["labels"] == {"service": "storefront", **outcome}


def test_rollback_and_message(control: ControlNode) -> None:
    control.write("back.yml", "- ansible.builtin.command: touch {{ playbook_dir }}/rolled-back\n")
    path = _role(
        control,
        FAILS_ON_WEB2,
        tracked_change_rollback_tasks="back.yml",
        tracked_change_failure_detail="message",
        tracked_change_description="Minor release",
    )
    assert control.run(path)[0] == 2
    assert (control.folder / "rolled-back").exists()
    assert _ended(control)["labels"]["failed_host"] == "web2"
    first, *_rest, last = control.last_text().splitlines()
    assert first == "Failed: web2: task Work (ansible.builtin.fail): The disk is full. Rolled back."
    assert last == "Minor release"


def test_a_rollback_that_fails_and_a_task_with_no_log(control: ControlNode) -> None:
    control.write("back.yml", "- name: Back\n  ansible.builtin.fail: {msg: cannot}\n")
    secret = FAILS_ON_WEB2 + "  no_log: true\n"
    code, output = control.run("-v", _role(control, secret, tracked_change_rollback_tasks="back.yml"))
    assert code == 2
    # ansible-core itself may show why its task has failed.
    assert "disk is full" not in output.partition("Keep what has failed")[2]
    labels = _ended(control)["labels"]
    assert (labels["result"], labels["failed_task"]) == ("failed", "no_log")
    text = control.last_text()
    assert text.startswith("Failed: web2: a task with no_log. The rollback failed at task Back.")


def test_an_unreachable_host(control: ControlNode) -> None:
    with (control.folder / "inventory").open("a") as inventory:
        inventory.write(
            '[web:vars]\nansible_remote_tmp=\'{{ "/proc/nowhere" if inventory_hostname == "web3" else "/tmp" }}\'\n'
        )
    code, output = control.run(_role(control, "- ansible.builtin.ping:\n"))
    assert code != 0, output
    assert "unreachable=1" in output
    change = _ended(control)
    assert change["change_status"] == "Canceled"
    assert (change["labels"]["result"], change["labels"]["failed_host"]) == ("stopped", "web3")
    assert "Not finished: web3" in control.last_text()


def test_hosts_that_take_no_part_do_not_make_it_a_failure(control: ControlNode) -> None:
    path = _role(control, OK)
    text = (control.folder / "site.yml").read_text()
    control.write("site.yml", text + "      when: inventory_hostname != 'web3'\n")
    code, output = control.run(path)
    assert code == 0, output
    change = _ended(control)
    assert (change["labels"]["result"], control.statuses()) == ("ok", ["Processing", "Done"])
    assert control.last_text() == "2 of 2 hosts done."


def test_killed_in_the_middle(control: ControlNode) -> None:
    with control.start(_role(control, "- ansible.builtin.pause: {seconds: 60}\n")) as process:
        control.receiver.wait_for(lambda: control.statuses() == ["Processing"], PATIENCE)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    change = _ended(control)
    assert (change["change_status"], control.statuses()) == ("Canceled", ["Processing", "Canceled"])


def test_check_mode_sends_nothing(control: ControlNode) -> None:
    code, output = control.run("--check", _role(control, OK))
    assert code == 0, output
    assert control.receiver.requests() == []


def test_planned_ready_and_called_off(control: ControlNode) -> None:
    for entry in ("plan", "ready", "cancel"):
        path = _role(control, OK, tracked_change_starts_at="'2999-01-01T00:00:00Z'")
        text = (
            (control.folder / "site.yml")
            .read_text()
            .replace("tracked_change\n      vars", f"tracked_change\n        tasks_from: {entry}\n      vars")
        )
        control.write("site.yml", text)
        code, output = control.run(path)
        assert code == 0, output
    assert control.statuses() == ["Planned", "Ready", "Canceled"]


def test_the_role_says_what_is_missing(control: ControlNode) -> None:
    path = _role(control, OK)
    text = (control.folder / "site.yml").read_text().replace("        tracked_change_key: CHG-7\n", "")
    control.write("site.yml", text)
    code, output = control.run(path)
    assert code == 2
    assert "tracked_change_key" in output
    assert control.receiver.requests() == []


# ---- beside the callback


def _both(control: ControlNode, play: str, failing: bool = True) -> str:
    control.environment["ANSIBLE_CALLBACKS_ENABLED"] = "flashcat.flashduty.flashduty_change"
    control.write("back.yml", "- name: Back\n  ansible.builtin.fail: {msg: cannot}\n")
    return _role(control, FAILS_ON_WEB2 if failing else OK, play=play, tracked_change_rollback_tasks="back.yml")


def _changes(control: ControlNode, count: int) -> dict[str, Any]:
    """The changes by their titles, once all have ended."""
    control.receiver.wait_for(
        lambda: [change["end_time"] > 0 for change in control.receiver.changes()] == [True] * count, PATIENCE
    )
    return {change["title"]: change for change in control.receiver.changes()}


def test_the_run_names_the_task_that_broke_and_the_role_s_change_says_whose_part_it_is(control: ControlNode) -> None:
    path = _both(control, "  vars: {flashduty_title: Upgrade, flashduty_change_key: RUN-1}\n")
    assert control.run(path)[0] == 2
    changes = _changes(control, 2)
    assert sorted(changes) == ["Upgrade", "Upgrade (CHG-7)"]
    for change in changes.values():
        outcome = {name: change["labels"][name] for name in ("result", "failed_host", "failed_task")}
        assert outcome == {"result": "failed", "failed_host": "web2", "failed_task": "Work"}
    assert control.last_text("RUN-1").startswith("Failed: web2 at task 'Work' (ansible.builtin.fail, work.yml:1).")
    assert control.last_text("CHG-7").splitlines()[-1] == "Part of the change RUN-1 (Upgrade)."
    (first, *_rest) = [event["body"] for event in control.receiver.events() if event["change_key"] == "CHG-7"]
    assert first["description"] == "Part of the change RUN-1 (Upgrade)."


@pytest.mark.parametrize("failing", [False, True])
def test_with_the_key_of_the_run_both_are_one_change_that_the_run_closes(control: ControlNode, failing: bool) -> None:
    path = _both(control, "  vars: {flashduty_title: Upgrade, flashduty_change_key: CHG-7}\n", failing)
    code, output = control.run(path)
    assert code == (2 if failing else 0), output
    (change,) = _changes(control, 1).values()
    assert (change["title"], change["labels"]["result"]) == ("Upgrade", "failed" if failing else "ok")
    assert "storefront" in [event["body"]["labels"].get("service") for event in control.receiver.events()]
    assert control.statuses()[-1] == ("Canceled" if failing else "Done")
    assert set(control.statuses()[:-1]) == {"Processing"}


# ---- cancel_on_exit


TASKS = """
- hosts: web1
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change:
        {{change_status: Processing, change_key: CHG-8, title: Upgrade, cancel_on_exit: {cancel}}}
    - ansible.builtin.raw: {command}
      changed_when: false
    - flashcat.flashduty.flashduty_change: {{change_status: Done, change_key: CHG-8, title: Upgrade}}
"""


def test_a_change_left_open_is_canceled_at_the_end(control: ControlNode) -> None:
    code, _output = control.run(control.write("site.yml", TASKS.format(cancel="true", command="/bin/false")))
    assert code == 2
    assert _ended(control)["labels"]["result"] == "unfinished"
    assert "ended before" in control.last_text()
    assert control.statuses() == ["Processing", "Canceled"]


@pytest.mark.alike
@pytest.mark.parametrize("callback", [False, True])
def test_a_change_that_was_closed_stays_as_it_is(control: ControlNode, callback: bool) -> None:
    if callback:
        control.environment["ANSIBLE_CALLBACKS_ENABLED"] = "flashcat.flashduty.flashduty_change"
    code, output = control.run(control.write("site.yml", TASKS.format(cancel="true", command="/bin/true")))
    assert code == 0, output
    assert control.run("flashcat.flashduty.flush")[0] == 0
    of_task = [each["change_status"] for each in control.receiver.events() if each["change_key"] == "CHG-8"]
    assert of_task == ["Processing", "Done"]
    assert len(control.receiver.events()) == (4 if callback else 2)
