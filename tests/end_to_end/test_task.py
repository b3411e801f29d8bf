# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module called as a task."""

from __future__ import annotations

import re

import pytest
from control_node import ControlNode

TASK = """
- hosts: {hosts}
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change:
        change_key: CHANGE-1
        change_status: {status}
        title: Upgrade
        labels: {{service: storefront, nodes: [a, b], empty: null, debug: true}}
        {more}
"""


@pytest.fixture(autouse=True)
def no_callback(control: ControlNode) -> None:
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]


def _playbook(control: ControlNode, status: str = "Processing", hosts: str = "web1", more: str = "force: false") -> str:
    return control.write(f"{status}.yml", TASK.format(status=status, hosts=hosts, more=more))


def test_one_event_over_hosts_and_runs(control: ControlNode) -> None:
    path = _playbook(control, hosts="all")
    code, output = control.run(path)
    assert code == 0, output
    assert output.count("changed: [") == 1
    assert control.run(path)[1].count("changed: [") == 0
    (event,) = control.receiver.events()
    assert event["body"]["labels"] == {"service": "storefront", "nodes": "a,b", "debug": "true"}


def test_each_state_again_on_every_run(control: ControlNode) -> None:
    first, last = _playbook(control, "Processing"), _playbook(control, "Done")
    for _run in range(2):
        assert control.run(first, last)[0] == 0
    assert control.statuses() == ["Processing", "Done"] * 2


def test_force_sends_again(control: ControlNode) -> None:
    path = _playbook(control, more="force: true")
    control.run(path)
    control.run(path)
    assert control.statuses() == ["Processing"] * 2


def test_check_mode_compares_and_sends_nothing(control: ControlNode) -> None:
    code, output = control.run("--check", "--diff", _playbook(control))
    assert code == 0
    assert '+    "change_key": "CHANGE-1"' in output
    assert "changed=1" in output
    assert control.receiver.requests() == []
    assert not (control.folder / "home" / "flashduty").exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("description: \"{{ 'x' * 2049 }}\"", "description: must have at most 2048 characters, got 2049"),
        ("event_time: 1700000000000", "milliseconds"),
        ("event_time: '2999-01-01T00:00:00Z'", "only a Ready event may be in the future"),
    ],
)
def test_bad_input_fails_before_the_network(control: ControlNode, more: str, expected: str) -> None:
    code, output = control.run(_playbook(control, more=more))
    assert code == 2
    assert expected in " ".join(output.split())
    assert control.receiver.requests() == []


def test_a_lost_answer_ends_as_delivered(control: ControlNode) -> None:
    control.receiver.faults.set("lost_answer", times=1)
    code, output = control.run(_playbook(control))
    assert code == 0, output
    assert len(control.receiver.changes()) == 1


def test_fail_and_queue(control: ControlNode) -> None:
    control.receiver.faults.set("status", status=500)
    code, output = control.run(_playbook(control, more="timeout: 1"))
    assert code == 2
    assert "will not be sent any more" in " ".join(output.split())
    code, output = control.run(_playbook(control, "Done", more="timeout: 1\n        on_delivery_failure: queue"))
    assert code == 0, output
    control.receiver.faults.clear()
    assert control.run("flashcat.flashduty.flush")[0] == 0
    assert control.statuses() == ["Done"]


def test_a_task_without_a_key_joins_the_run(control: ControlNode) -> None:
    control.environment["ANSIBLE_CALLBACKS_ENABLED"] = "flashcat.flashduty.flashduty_change"
    path = control.write(
        "site.yml",
        "- hosts: web1\n  gather_facts: false\n  tasks:\n    - flashcat.flashduty.flashduty_change:\n"
        "        change_status: Processing\n        description: 进度 40%\n",
    )
    assert control.run(path)[0] == 0
    change = control.only_change()
    assert control.statuses() == ["Processing", "Processing", "Done"]
    assert change["event_count"] == 3


def test_nothing_is_sent_that_flashduty_would_discard(control: ControlNode) -> None:
    statuses = ["Processing", "Processing", "Done", "Processing", "Done"]
    report = "    - flashcat.flashduty.flashduty_change: {change_key: C, title: T, force: true, change_status: %s}\n"
    reports = "".join(report % status for status in statuses)
    control.environment["ANSIBLE_CALLBACKS_ENABLED"] = "flashcat.flashduty.flashduty_change"
    assert control.run(control.write("site.yml", f"- hosts: web1\n  gather_facts: false\n  tasks:\n{reports}"))[0] == 0
    events = [event for event in control.receiver.events() if event["change_key"] == "C"]
    assert [event["body"]["change_status"] for event in events] == statuses
    assert [event["discarded"] for event in events] == [None] * 5
    moments = [event["body"]["event_time"] for event in events]
    assert moments == sorted(moments)
    # Never dated ahead of its arrival.
    assert all(event["body"]["event_time"] <= event["received"] for event in events)


def test_a_task_without_labels_leaves_those_of_its_change(control: ControlNode) -> None:
    assert control.run(_playbook(control))[0] == 0
    path = _playbook(control, "Done")
    text = (control.folder / "Done.yml").read_text()
    control.write("Done.yml", "".join(line for line in text.splitlines(True) if "labels:" not in line))
    assert control.run(path)[1].count("changed: [") == 1
    assert control.run(path)[1].count("changed: [") == 0
    change = control.only_change()
    assert change["change_status"] == "Done"
    assert change["labels"] == {"service": "storefront", "nodes": "a,b", "debug": "true"}


def test_module_defaults_by_group(control: ControlNode) -> None:
    push_url = control.environment.pop("FLASHDUTY_PUSH_URL")
    path = _playbook(control)
    text = (control.folder / "Processing.yml").read_text()
    defaults = f"  module_defaults:\n    group/flashcat.flashduty.flashduty:\n      push_url: {push_url}\n  tasks:"
    control.write("Processing.yml", text.replace("  tasks:", defaults))
    assert control.run(path)[0] == 0
    assert control.statuses() == ["Processing"]


@pytest.mark.parametrize("more", ["force: false", "force: false\n      delegate_to: bastion"])
def test_what_is_turned_off_needs_no_key_and_sends_nothing(control: ControlNode, more: str) -> None:
    control.add_bastion()
    control.environment["FLASHDUTY_ENABLED"] = "false"
    if "delegate_to" not in more:
        del control.environment["FLASHDUTY_PUSH_URL"]
    code, output = control.run(_playbook(control, more=more))
    assert code == 0, output
    assert re.search(r"ok=1 +changed=0", output)
    assert control.receiver.requests() == []


@pytest.mark.parametrize(("on_failure", "code"), [("queue", 0), ("fail", 2)])
def test_without_a_courier_the_event_waits_where_that_is_wanted(
    control: ControlNode, on_failure: str, code: int
) -> None:
    state = control.folder / "home" / "flashduty"
    state.mkdir(parents=True)
    (state / "couriers").write_text("this is no folder")
    path = _playbook(control, more=f"on_delivery_failure: {on_failure}")
    found, output = control.run(path)
    assert found == code, output
    assert "nobody can deliver it now" in " ".join(output.split())
    assert control.statuses() == []
    (state / "couriers").unlink()
    assert control.run("flashcat.flashduty.flush")[0] == 0
    assert control.statuses() == (["Processing"] if on_failure == "queue" else [])
