# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change over many hosts, closed with the truth: cancel_on_exit and the role tracked_change."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import Any

import pytest
from control_node import ControlNode

PATIENCE = 40.0


@pytest.fixture(autouse=True)
def several_hosts(control: ControlNode) -> None:
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    control.write(
        "inventory",
        "[web]\nweb[1:3]\n[app]\napp[1:2]\n[db]\ndb[1:2]\n"
        f"[all:vars]\nansible_connection=local\nansible_python_interpreter={sys.executable}\n",
    )


def _role(
    tasks: str, key: str = "CHG-7", hosts: str = "web", play: str = "", included: str = "", **variables: str
) -> str:
    """A play that runs the tasks of a file as a tracked change."""
    given = {"tracked_change_key": key, "tracked_change_title": "Upgrade", "tracked_change_tasks": tasks}
    lines = "".join(f"        {name}: {value}\n" for name, value in {**given, **variables}.items() if value)
    return (
        f"- hosts: {hosts}\n  gather_facts: false\n{play}  tasks:\n"
        f"    - ansible.builtin.include_role:\n        name: flashcat.flashduty.tracked_change\n{included}"
        f"      vars:\n        tracked_change_labels: {{service: storefront}}\n{lines}"
    )


def _playbook(control: ControlNode, *plays: str) -> str:
    control.write("ok.yml", "- ansible.builtin.debug: {msg: fine}\n")
    fails = "  ansible.builtin.fail: {msg: The disk is full.}\n  when: inventory_hostname is match('.*2')\n"
    control.write("fails-on-2.yml", f"- name: Work\n{fails}")
    control.write("fails-in-secret.yml", f"- name: Work\n{fails}  no_log: true\n")
    control.write("back.yml", "- name: Back\n  ansible.builtin.fail: {msg: cannot}\n")
    return control.write("site.yml", "".join(plays))


def _ended(control: ControlNode, *keys: str) -> dict[str, Any]:
    """The changes by their keys, once they are all that there are, and all that have begun have ended."""

    def have_ended() -> bool:
        changes = control.receiver.changes()
        ended = all(change["end_time"] > 0 or change["change_status"] == "Ready" for change in changes)
        return ended and {change["change_key"] for change in changes} == {*keys}

    control.receiver.wait_for(have_ended, PATIENCE)
    return {change["change_key"]: change for change in control.receiver.changes()}


def _statuses(control: ControlNode, change_key: str) -> list[str]:
    """What arrived of a change, in order."""
    events = control.receiver.events()
    return [event["body"]["change_status"] for event in events if event["change_key"] == change_key]


def test_all_hosts_or_batches_are_one_change_which_may_have_been_planned(control: ControlNode) -> None:
    plays = [
        _role("ok.yml", "ALL"),
        _role("ok.yml", "SERIAL-1", play="  serial: 1\n"),
        _role("ok.yml", "SERIAL-2", play="  serial: 2\n"),
        _role("ok.yml", "PART", included="      when: inventory_hostname != 'web3'\n"),
    ]
    for entry in ("plan", "ready", "cancel"):
        included = f"        tasks_from: {entry}\n"
        plays.append(_role("ok.yml", "PLANNED", included=included, tracked_change_starts_at="'2999-01-01T00:00:00Z'"))
    code, output = control.run(_playbook(control, *plays))
    assert code == 0, output
    assert "changed=0" in output
    assert "DEPRECATION" not in output
    assert "changed=1" not in output
    changes = _ended(control, "ALL", "SERIAL-1", "SERIAL-2", "PART", "PLANNED")
    assert changes["ALL"]["labels"] == {"service": "storefront", "result": "ok"}
    for key, hosts in (("ALL", 3), ("PART", 2), ("SERIAL-1", 3), ("SERIAL-2", 3)):
        assert changes[key]["labels"]["result"] == "ok"
        assert _statuses(control, key) == ["Processing", "Done"]
        assert control.last_text(key) == f"{hosts} of {hosts} hosts done."
    assert _statuses(control, "PLANNED") == ["Planned", "Ready", "Canceled"]


def test_a_failed_host_fails_as_without_the_role_and_is_rolled_back(control: ControlNode) -> None:
    control.write("touch.yml", "- ansible.builtin.raw: touch {{ (playbook_dir ~ '/rolled-back') | quote }}\n")
    rolled_back = {"tracked_change_rollback_tasks": "touch.yml", "tracked_change_failure_detail": "message"}
    plays = [
        _role("fails-on-2.yml", "FAILS"),
        _role("fails-on-2.yml", "BACK", "app", tracked_change_description="Minor release", **rolled_back),
        _role("fails-in-secret.yml", "SECRET", "db", tracked_change_rollback_tasks="back.yml"),
    ]
    code, output = control.run("-v", _playbook(control, *plays))
    assert code == 2
    _none, of_failed, _of_back, of_secret = output.split("PLAY [")[:4]
    assert "The disk is full." in of_failed
    # ansible-core itself may show why its task has failed.
    assert "disk is full" not in of_secret.partition("Keep what has failed")[2]
    changes = _ended(control, "FAILS", "BACK", "SECRET")
    assert _statuses(control, "FAILS") == ["Processing", "Canceled"]
    assert control.last_text("FAILS") == "Failed: web2: task Work (ansible.builtin.fail).\n2 of 3 hosts done."
    outcome = {"result": "failed", "failed_host": "web2", "failed_task": "Work"}
    assert changes["FAILS"]["labels"] == {"service": "storefront", **outcome}
    assert (control.folder / "rolled-back").exists()
    assert changes["BACK"]["labels"]["failed_host"] == "app2"
    first, *_rest, last = control.last_text("BACK").splitlines()
    assert first == "Failed: app2: task Work (ansible.builtin.fail): The disk is full. Rolled back."
    assert last == "Minor release"
    labels = changes["SECRET"]["labels"]
    assert (labels["result"], labels["failed_task"]) == ("failed", "no_log")
    text = control.last_text("SECRET")
    assert text.startswith("Failed: db2: a task with no_log. The rollback failed at task Back.")


def test_a_host_that_becomes_unreachable_and_a_task_that_fails_leave_nothing_open(control: ControlNode) -> None:
    with (control.folder / "inventory").open("a") as inventory:
        inventory.write("[gone]\nweb3 ansible_remote_tmp=/proc/nowhere\n")
    control.write("ping.yml", "- ansible.builtin.ping:\n  when: inventory_hostname == 'web3'\n")
    left_open = TASKS.format(cancel="true", command="/bin/false")
    code, output = control.run(_playbook(control, _role("ping.yml"), left_open))
    assert code != 0, output
    assert "unreachable=1" in output
    assert re.search(r"web1 .*failed=1", output)
    changes = _ended(control, "CHG-7", "CHG-8")
    change = changes["CHG-7"]
    assert change["change_status"] == "Canceled"
    assert (change["labels"]["result"], change["labels"]["failed_host"]) == ("stopped", "web3")
    assert "Not finished: web3" in control.last_text("CHG-7")
    assert changes["CHG-8"]["labels"]["result"] == "unfinished"
    assert "ended before" in control.last_text("CHG-8")
    assert _statuses(control, "CHG-8") == ["Processing", "Canceled"]


def test_killed_in_the_middle(control: ControlNode) -> None:
    control.write("pause.yml", "- ansible.builtin.pause: {seconds: 60}\n")
    with control.start(_playbook(control, _role("pause.yml"))) as process:
        control.receiver.wait_for(lambda: control.statuses() == ["Processing"], PATIENCE)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    change = _ended(control, "CHG-7")["CHG-7"]
    assert (change["change_status"], control.statuses()) == ("Canceled", ["Processing", "Canceled"])


def test_check_mode_sends_nothing_and_the_role_says_what_is_missing(control: ControlNode) -> None:
    incomplete = _role("ok.yml", key="", hosts="app", play="  check_mode: false\n")
    code, output = control.run("--check", _playbook(control, _role("ok.yml"), incomplete))
    assert code == 2
    of_checked, of_incomplete = output.split("PLAY [")[1:3]
    assert "Report that this host is done" in of_checked
    assert "tracked_change_key" in of_incomplete
    assert len(re.findall(r"web\d .*failed=0", output)) == 3
    assert control.receiver.requests() == []


# ---- beside the callback


def _both(control: ControlNode, key: str, tasks: str = "fails-on-2.yml") -> str:
    control.environment["ANSIBLE_CALLBACKS_ENABLED"] = "flashcat.flashduty.flashduty_change"
    play = f"  vars: {{flashduty_title: Upgrade, flashduty_change_key: {key}}}\n"
    return _playbook(control, _role(tasks, play=play, tracked_change_rollback_tasks="back.yml"))


def test_the_run_names_the_task_that_broke_and_the_role_s_change_says_whose_part_it_is(control: ControlNode) -> None:
    assert control.run(_both(control, "RUN-1"))[0] == 2
    changes = _ended(control, "RUN-1", "CHG-7")
    assert {key: change["title"] for key, change in changes.items()} == {"RUN-1": "Upgrade", "CHG-7": "Upgrade (CHG-7)"}
    for change in changes.values():
        outcome = {name: change["labels"][name] for name in ("result", "failed_host", "failed_task")}
        assert outcome == {"result": "failed", "failed_host": "web2", "failed_task": "Work"}
    assert control.last_text("RUN-1").startswith(
        "Failed: web2 at task 'Work' (ansible.builtin.fail, fails-on-2.yml:1)."
    )
    assert control.last_text("CHG-7").splitlines()[-1] == "Part of the change RUN-1 (Upgrade)."
    (first, *_rest) = [event["body"] for event in control.receiver.events() if event["change_key"] == "CHG-7"]
    assert first["description"] == "Part of the change RUN-1 (Upgrade)."


@pytest.mark.parametrize("failing", [False, True])
def test_with_the_key_of_the_run_both_are_one_change_that_the_run_closes(control: ControlNode, failing: bool) -> None:
    code, output = control.run(_both(control, "CHG-7", "fails-on-2.yml" if failing else "ok.yml"))
    assert code == (2 if failing else 0), output
    (change,) = _ended(control, "CHG-7").values()
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
