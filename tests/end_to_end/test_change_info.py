# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes read back by a task."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from control_node import APP_KEY, ControlNode

CHANGE = "flashcat.flashduty.flashduty_change"
FIND = "flashcat.flashduty.flashduty_change_info"


@pytest.fixture(autouse=True)
def no_callback(control: ControlNode) -> None:
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    control.environment["FLASHDUTY_APP_KEY"] = APP_KEY


def _report(key: str, status: str = "Processing", **more: Any) -> dict[str, Any]:
    """A task that reports a change."""
    change = {"change_key": key, "change_status": status, "title": "Upgrade", "labels": {"service": "storefront"}}
    return {CHANGE: {**change, **more}}


def _results(control: ControlNode, *arguments: str, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the tasks of one run return; each may fail."""
    names = [f"result_{number}" for number, _task in enumerate(tasks)]
    registered = [{**task, "register": name, "ignore_errors": True} for name, task in zip(names, tasks, strict=True)]
    shown = {"ansible.builtin.debug": {"msg": f"=={{{{ [{', '.join(names)}] | to_json | b64encode }}}}=="}}
    play = {"hosts": "web1", "gather_facts": False, "tasks": [*registered, shown]}
    code, output = control.run(*arguments, control.write("site.yml", json.dumps([play])))
    assert code == 0, output
    assert APP_KEY not in output
    (encoded,) = re.findall(r'"msg": "==(.+)=="', output)
    results = base64.b64decode(encoded).decode()
    assert APP_KEY not in results
    found: list[dict[str, Any]] = json.loads(results)
    return found


@pytest.mark.slow
def test_read_back_what_was_reported_without_an_integration_key(control: ControlNode) -> None:
    control.environment["FLASHDUTY_API_URL"] = control.receiver.url
    push_url = control.environment.pop("FLASHDUTY_PUSH_URL")
    reports = [_report("CHANGE-1", push_url=push_url), _report("CHANGE-10", "Done", push_url=push_url)]
    read = {FIND: {"change_key": "CHANGE-1", "labels": {"service": "storefront"}}}
    others: list[dict[str, Any]] = [{FIND: {"labels": {"service": "another"}}}, {FIND: {"limit": 1}}]
    *reported, found, of_another_service, limited = _results(control, tasks=[*reports, read, *others])
    assert [result["changed"] for result in reported] == [True, True]
    assert of_another_service["changes"] == []
    assert limited["truncated"]
    for result in (found, *_results(control, "--check", "-vvvvv", tasks=[read, {**read, "check_mode": False}])):
        assert [change["change_status"] for change in result["changes"]] == ["Processing"]
        assert (result["total"], result["truncated"], result["changed"]) == (2, False, False)


def test_errors_name_the_option_or_say_what_flashduty_said(control: ControlNode) -> None:
    too_long: dict[str, Any] = {FIND: {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-03-01T00:00:00Z"}}
    window, wrong = _results(control, tasks=[too_long, {FIND: {"app_key": "wr0ng-app-key"}}])
    assert "less than 31 days" in window["msg"]
    assert wrong["error"]["code"] == "Unauthorized"
    assert wrong["request_id"]
    assert "wr0ng" not in json.dumps(wrong)


def test_the_app_key_from_a_variable_or_the_task(control: ControlNode) -> None:
    del control.environment["FLASHDUTY_APP_KEY"]
    tasks = [_report("CHANGE-1"), {FIND: {}}, {FIND: {"app_key": APP_KEY}}]
    reported, without_a_key, found = _results(control, tasks=tasks)
    assert reported["changed"]
    assert "FLASHDUTY_APP_KEY" in without_a_key["msg"]
    assert found["total"] == 1
    (found,) = _results(control, "-e", f"flashduty_app_key={APP_KEY}", tasks=[{FIND: {}}])
    assert found["total"] == 1


def test_with_delegate_to_it_reads_and_compares_from_that_host(
    control: ControlNode, capsys: pytest.CaptureFixture[str]
) -> None:
    control.add_bastion()
    control.environment["HOME"] = str(control.folder / "bastion home")
    there = {"delegate_to": "bastion", "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}}
    # The outbox that is compared with otherwise knows nothing of the changes.
    reports = [_report(key, state_dir=str(control.folder / "another"), force=True) for key in ("CHANGE-1", "CHANGE-2")]
    tasks = [
        *reports,
        {FIND: {"change_key": "CHANGE-1"}, **there},
        {**_report("CHANGE-1"), **there, "check_mode": True},
        {**_report("CHANGE-2"), **there},
    ]
    *reported, found, checked, compared = _results(control, "-vvvvv", tasks=tasks)
    assert [result["changed"] for result in reported] == [True, True]
    assert [change["change_status"] for change in found["changes"]] == ["Processing"]
    assert [checked["changed"], compared["changed"]] == [False, False]
    assert capsys.readouterr().out.count("ok: [web1 -> bastion]") == 3
    assert len(control.receiver.events()) == 2
