# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flush closes what was abandoned by control nodes whose disk did not survive."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_node import APP_KEY, KEY, ControlNode, of_each_task

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api
from flashduty_sandbox.receiver import Receiver

OTHER = "another-integration"
HOUR = 3600
FLUSH = "flashcat.flashduty.flush"
OF_ANOTHER = f"""
- import_playbook: {FLUSH}
  vars: {{stale_labels: {{controller: another}}}}
"""
WRONG = """
- hosts: localhost
  gather_facts: false
  ignore_errors: true
  vars: {flashduty_enabled: false, flashduty_app_key: "{{ app_key }}"}
  tasks:
    - flashcat.flashduty.flashduty_flush: {stale_after: 6h}
    - flashcat.flashduty.flashduty_flush: {stale_after: 6h, stale_integration_id: 1}
      vars: {flashduty_app_key: ""}
    - flashcat.flashduty.flashduty_flush: {stale_after: 5m, stale_integration_id: 1}
    - flashcat.flashduty.flashduty_flush: {stale_after: soon, stale_integration_id: 1}
    - flashcat.flashduty.flashduty_flush: {stale_after: 6h, stale_integration_id: 1}
      vars: {flashduty_app_key: wr0ng-app-key}
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver.sqlite3", integration_keys=[OTHER, KEY], app_keys=[APP_KEY]) as running:
        yield running


def _report(receiver: Receiver, key: str, hours_ago: float, integration_key: str = KEY, source: str = "ansible") -> int:
    moment = int(time.time() - hours_ago * HOUR)
    fields = {
        "change_key": key,
        "change_status": "Processing",
        "title": f"Title of {key}",
        "link": "https://ci.example/1",
        "event_time": moment,
        "labels": {"source": source, "controller": "job-17"},
    }
    api = Api(Connection(receiver.url, integration_key))
    api.push(ChangeEvent.validated(fields, time.time()).to_json(), 20.0)
    api.close()
    return moment


def _statuses(receiver: Receiver) -> dict[tuple[str, int], str]:
    return {(change["change_key"], change["integration_id"]): change["change_status"] for change in receiver.changes()}


def test_stale_changes_of_ours_are_closed_and_no_others(control: ControlNode, receiver: Receiver) -> None:
    ours, theirs = receiver.integration_id(KEY), receiver.integration_id(OTHER)
    moment = _report(receiver, "abandoned", 7)
    _report(receiver, "still running", 5)
    _report(receiver, "abandoned", 7, OTHER)
    _report(receiver, "not of the callback", 7, source="a script")
    control.environment["FLASHDUTY_APP_KEY"] = APP_KEY
    options = ("-e", f"stale_after=6h stale_integration_id={ours}")

    code, output = control.run(FLUSH, "--check", *options)
    assert code == 0, output
    assert "changed=1" in output
    assert len(receiver.events()) == 4

    of_another = control.write("other.yml", OF_ANOTHER)
    code, output = control.run(of_another, FLUSH, FLUSH, *options)
    assert code == 0, output
    assert re.findall(r"(\d) closed", output) == ["0", "1", "0"]
    assert _statuses(receiver) == {
        ("abandoned", ours): "Canceled",
        ("still running", ours): "Processing",
        ("abandoned", theirs): "Processing",
        ("not of the callback", ours): "Processing",
    }
    *_earlier, closed = receiver.events()
    assert len(_earlier) == 4
    assert (closed["event_time"], closed["title"], closed["link"]) == (
        moment,
        "Title of abandoned",
        "https://ci.example/1",
    )
    assert closed["labels"] == {"source": "ansible", "controller": "job-17", "result": "unknown"}
    assert "7 h 0 min" in closed["description"]


def test_what_cannot_be_done_is_said(control: ControlNode) -> None:
    code, output = control.run(control.write("wrong.yml", WRONG), "-e", f"app_key={APP_KEY}")
    assert code == 0
    expected = (
        "stale_integration_id: is needed with stale_after",
        "app_key: no app key is set",
        "stale_after: must be between 10 minutes and 29 days",
        "such as 6h, got 'soon'",
        "stale changes cannot be read",
    )
    for text, said in zip(expected, of_each_task(output), strict=True):
        assert text in said
        assert "...ignoring" in said
    assert "wr0ng" not in output
