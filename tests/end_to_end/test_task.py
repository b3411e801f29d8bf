# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module called as a task."""

from __future__ import annotations

import re

import pytest
from control_node import ControlNode, of_each_task

TASK = """
    - flashcat.flashduty.flashduty_change:
        change_key: {key}
        change_status: {status}
        title: Upgrade
        labels: {{service: storefront, nodes: [a, b], empty: null, debug: true}}
        {more}
"""
LABELS = {"service": "storefront", "nodes": "a,b", "debug": "true"}


@pytest.fixture(autouse=True)
def no_callback(control: ControlNode) -> None:
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]


def _task(status: str = "Processing", key: str = "CHANGE-1", more: str = "force: false") -> str:
    return TASK.format(status=status, key=key, more=more)


def _play(*tasks: str, hosts: str = "web1", more: str = "") -> str:
    return f"- hosts: {hosts}\n  gather_facts: false\n{more}  tasks:\n{''.join(tasks)}"


def _statuses(control: ControlNode, change_key: str) -> list[str]:
    """What arrived of a change, in order."""
    events = control.receiver.events()
    return [event["body"]["change_status"] for event in events if event["change_key"] == change_key]


def test_each_state_is_sent_once_over_hosts_and_again_on_every_run(control: ControlNode) -> None:
    push_url = control.environment.pop("FLASHDUTY_PUSH_URL")
    defaults = f"  module_defaults:\n    group/flashcat.flashduty.flashduty:\n      push_url: {push_url}\n"
    control.receiver.faults.set("lost_answer", times=1, key="LOST ANSWER")
    others = [
        _task(key="BOTH"),
        _task("Done", "BOTH"),
        _task(key="FORCED", more="force: true"),
        _task(key="LOST ANSWER"),
    ]
    plays = _play(_task(key="ONCE"), hosts="all", more=defaults) + _play(*others, more=defaults)
    done = "".join(line for line in _task("Done", "ONCE").splitlines(True) if "labels:" not in line)
    playbooks = [control.write("site.yml", plays), control.write("done.yml", _play(done, done, more=defaults))]
    for names, expected in ((playbooks[:1], [1, 1, 1, 1, 1]), (playbooks, [0, 1, 1, 1, 0, 1, 0])):
        code, output = control.run(*names)
        assert code == 0, output
        assert [part.count("changed: [") for part in of_each_task(output)] == expected
    assert _statuses(control, "ONCE") == ["Processing", "Done"]
    assert _statuses(control, "BOTH") == ["Processing", "Done"] * 2
    assert _statuses(control, "FORCED") == ["Processing"] * 2
    changes = {change["change_key"]: change for change in control.receiver.changes()}
    assert len(control.receiver.changes()) == len(changes) == 4
    (first, *_rest) = [event for event in control.receiver.events() if event["change_key"] == "ONCE"]
    assert first["body"]["labels"] == LABELS
    # A task without labels leaves those of its change.
    assert (changes["ONCE"]["change_status"], changes["ONCE"]["labels"]) == ("Done", LABELS)


def test_check_mode_compares_and_bad_input_fails_before_the_network(control: ControlNode) -> None:
    bad = {
        "description: \"{{ 'x' * 2049 }}\"": "description: must have at most 2048 characters, got 2049",
        "event_time: 1700000000000": "milliseconds",
        "event_time: '2999-01-01T00:00:00Z'": "only a Ready event may be in the future",
    }
    tasks = [_task(more=f"{more}\n      check_mode: false\n      ignore_errors: true") for more in bad]
    code, output = control.run("--check", "--diff", control.write("site.yml", _play(_task(), *tasks)))
    assert code == 0, output
    assert '+    "change_key": "CHANGE-1"' in output
    checked, *failed = of_each_task(output)
    assert "changed: [web1]" in checked
    for part, expected in zip(failed, bad.values(), strict=True):
        assert "fatal: [web1]: FAILED!" in part
        assert expected in part
    assert control.receiver.requests() == []
    assert not control.state.exists()


def test_what_cannot_be_delivered_fails_the_task_or_waits_where_that_is_wanted(control: ControlNode) -> None:
    control.state.mkdir(parents=True)
    (control.state / "couriers").write_text("this is no folder")
    tasks = [_task(key=key, more=f"on_delivery_failure: {key}") for key in ("queue", "fail")]
    code, output = control.run(control.write("without-courier.yml", _play(*tasks)))
    assert code == 2, output
    assert ["FAILED!" in part for part in of_each_task(output)] == [False, True]
    assert all("nobody can deliver it now" in part for part in of_each_task(output))
    assert control.statuses() == []
    (control.state / "couriers").unlink()
    control.receiver.faults.set("status", status=500)
    given_up = _task(more="timeout: 1\n      ignore_errors: true")
    queued = _task("Done", more="timeout: 1\n        on_delivery_failure: queue")
    code, output = control.run(control.write("site.yml", _play(given_up, queued)))
    assert code == 0, output
    first, second = of_each_task(output)
    assert ("FAILED!" in first, "will not be sent any more" in first, "FAILED!" in second) == (True, True, False)
    control.receiver.faults.clear()
    assert control.run("flashcat.flashduty.flush")[0] == 0
    sent = {key: _statuses(control, key) for key in ("queue", "fail", "CHANGE-1")}
    assert sent == {"queue": ["Processing"], "fail": [], "CHANGE-1": ["Done"]}


def test_a_task_without_a_key_joins_the_run_and_nothing_is_sent_that_flashduty_would_discard(
    control: ControlNode,
) -> None:
    statuses = ["Processing", "Processing", "Done", "Processing", "Done"]
    report = "    - flashcat.flashduty.flashduty_change: {%s}\n"
    tasks = [report % "change_status: Processing, description: 进度 40%"]
    tasks += [report % f"change_key: C, title: T, force: true, change_status: {status}" for status in statuses]
    control.environment["ANSIBLE_CALLBACKS_ENABLED"] = "flashcat.flashduty.flashduty_change"
    assert control.run(control.write("site.yml", _play(*tasks)))[0] == 0
    of_run, change = sorted(control.receiver.changes(), key=lambda change: change["change_key"] == "C")
    assert (change["change_key"], of_run["event_count"]) == ("C", 3)
    assert _statuses(control, of_run["change_key"]) == ["Processing", "Processing", "Done"]
    events = [event for event in control.receiver.events() if event["change_key"] == "C"]
    assert [event["body"]["change_status"] for event in events] == statuses
    assert [event["discarded"] for event in events] == [None] * 5
    moments = [event["body"]["event_time"] for event in events]
    assert moments == sorted(moments)
    # Never dated ahead of its arrival.
    assert all(event["body"]["event_time"] <= event["received"] for event in events)


def test_what_is_turned_off_needs_no_key_and_sends_nothing(control: ControlNode) -> None:
    control.add_bastion()
    control.environment["FLASHDUTY_ENABLED"] = "false"
    push_url = control.environment.pop("FLASHDUTY_PUSH_URL")
    delegated = _task(more=f"push_url: {push_url}\n      delegate_to: bastion")
    code, output = control.run(control.write("site.yml", _play(_task(), delegated)))
    assert code == 0, output
    assert re.search(r"ok=2 +changed=0", output)
    assert control.receiver.requests() == []
