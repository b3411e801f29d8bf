# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes read back by a task."""

from __future__ import annotations

import json
from typing import Any

import pytest
from control_node import APP_KEY, ControlNode

PLAYBOOK = """
- hosts: web1
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change_info: {options}
      register: found
      {more}
    - ansible.builtin.copy:
        content: "{{{{ found | to_json }}}}"
        dest: {result}
      check_mode: false
"""


@pytest.fixture(autouse=True)
def no_callback(control: ControlNode) -> None:
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    control.environment["FLASHDUTY_APP_KEY"] = APP_KEY


def _report(control: ControlNode, key: str, status: str = "Processing") -> None:
    task = {"change_key": key, "change_status": status, "title": "Upgrade", "labels": {"service": "storefront"}}
    play = {"hosts": "web1", "gather_facts": False, "tasks": [{"flashcat.flashduty.flashduty_change": task}]}
    code, output = control.run(control.write("report.yml", json.dumps([play])))
    assert code == 0, output


def _read(control: ControlNode, *arguments: str, more: str = "ignore_errors: true", **options: Any) -> dict[str, Any]:
    result = control.folder / "result.json"
    text = PLAYBOOK.format(options=json.dumps(options), result=result, more=more)
    code, output = control.run(*arguments, control.write("read.yml", text))
    assert code == 0, output
    assert APP_KEY not in output
    found: dict[str, Any] = json.loads(result.read_text())
    assert APP_KEY not in result.read_text()
    return found


@pytest.mark.slow
def test_read_back_what_was_reported_without_an_integration_key(control: ControlNode) -> None:
    _report(control, "CHANGE-1")
    _report(control, "CHANGE-10", "Done")
    control.environment["FLASHDUTY_API_URL"] = control.receiver.url
    del control.environment["FLASHDUTY_PUSH_URL"]
    for arguments in ((), ("--check",), ("-vvvvv",)):
        found = _read(control, *arguments, change_key="CHANGE-1", labels={"service": "storefront"})
        assert [change["change_status"] for change in found["changes"]] == ["Processing"]
        assert (found["total"], found["truncated"], found["changed"]) == (2, False, False)
    assert _read(control, labels={"service": "another"})["changes"] == []
    assert _read(control, limit=1)["truncated"]


def test_the_app_key_from_a_variable_or_the_task(control: ControlNode) -> None:
    _report(control, "CHANGE-1")
    del control.environment["FLASHDUTY_APP_KEY"]
    assert _read(control, "-e", f"flashduty_app_key={APP_KEY}")["total"] == 1
    assert _read(control, app_key=APP_KEY)["total"] == 1


def test_errors_name_the_option_or_say_what_flashduty_said(control: ControlNode) -> None:
    assert (
        "less than 31 days" in _read(control, start_time="2026-01-01T00:00:00Z", end_time="2026-03-01T00:00:00Z")["msg"]
    )
    wrong = _read(control, app_key="wr0ng-app-key")
    assert wrong["error"]["code"] == "Unauthorized"
    assert wrong["request_id"]
    assert "wr0ng" not in json.dumps(wrong)
    del control.environment["FLASHDUTY_APP_KEY"]
    assert "FLASHDUTY_APP_KEY" in _read(control)["msg"]


def test_with_delegate_to_it_reads_and_compares_from_that_host(control: ControlNode) -> None:
    control.add_bastion()
    _report(control, "CHANGE-1")
    control.environment["HOME"] = str(control.folder / "bastion home")
    there = "delegate_to: bastion\n      vars: {ansible_python_interpreter: '{{ ansible_playbook_python }}'}"
    found = _read(control, "-vvvvv", change_key="CHANGE-1", more=there)
    assert [change["change_status"] for change in found["changes"]] == ["Processing"]
    # That host has an outbox of its own, which knows nothing of the change.
    play = (control.folder / "report.yml").read_text()
    (parsed,) = json.loads(play)
    parsed["tasks"][0].update(
        delegate_to="bastion", vars={"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    )
    for arguments in (("--check",), ()):
        code, output = control.run(*arguments, control.write("report.yml", json.dumps([parsed])))
        assert code == 0, output
        assert "ok: [web1 -> bastion]" in output
    assert len(control.receiver.events()) == 1
